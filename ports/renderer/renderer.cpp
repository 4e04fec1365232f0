#include "ports/renderer/renderer.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "ports/printable.hpp"
#include "ports/renderer/deepseek_v3.hpp"
#include "ports/renderer/gpt_oss.hpp"
#include "ports/renderer/kimi_k2.hpp"
#include "ports/renderer/llama3.hpp"
#include "ports/renderer/qwen3.hpp"
#include "ports/renderer/role_colon.hpp"
#include "ports/renderer/role_tokens.hpp"
#include "ports/renderer/tools.hpp"

namespace pipestill {
namespace {

using Made = Result<std::shared_ptr<const Renderer>>;
struct Format {
  Description description;
  std::function<Made(std::shared_ptr<const Tokenizer>, const RendererOptions&)> make;
};

const std::vector<Format>& formats() {
  static const std::vector<Format> all = [] {
    const auto qwen3 = [](Qwen3Renderer::Variant v) {
      return Format{Qwen3Renderer::describe(v),
                    [v](auto tokenizer, const auto& options) { return Qwen3Renderer::make(v, std::move(tokenizer), options); }};
    };
    const auto deepseek = [](DeepSeekV3Renderer::Variant v) {
      return Format{DeepSeekV3Renderer::describe(v),
                    [v](auto tokenizer, const auto& options) { return DeepSeekV3Renderer::make(v, std::move(tokenizer), options); }};
    };
    const auto gpt_oss = [](GptOssRenderer::Effort e) {
      return Format{GptOssRenderer::describe(e),
                    [e](auto tokenizer, const auto& options) { return GptOssRenderer::make(e, std::move(tokenizer), options); }};
    };
    const auto role_colon = [](std::shared_ptr<const Tokenizer> tokenizer, const RendererOptions& options) -> Made {
      if (auto known = check_options(options, {}, "role_colon"); !known) return fail(std::move(known).error());
      return std::make_shared<RoleColonRenderer>(std::move(tokenizer));
    };
    const auto role_tokens = [](std::shared_ptr<const Tokenizer> tokenizer, const RendererOptions& options) -> Made {
      if (auto known = check_options(options, {}, "role_tokens"); !known) return fail(std::move(known).error());
      return RoleTokensRenderer::make(std::move(tokenizer));
    };
    return std::vector<Format>{{RoleColonRenderer::describe(), role_colon},
                               {RoleTokensRenderer::describe(), role_tokens},
                               {Llama3Renderer::describe(), &Llama3Renderer::make},
                               qwen3(Qwen3Renderer::Variant::thinking),
                               qwen3(Qwen3Renderer::Variant::no_thinking),
                               qwen3(Qwen3Renderer::Variant::instruct),
                               deepseek(DeepSeekV3Renderer::Variant::no_thinking),
                               deepseek(DeepSeekV3Renderer::Variant::thinking),
                               gpt_oss(GptOssRenderer::Effort::none),
                               gpt_oss(GptOssRenderer::Effort::low),
                               gpt_oss(GptOssRenderer::Effort::medium),
                               gpt_oss(GptOssRenderer::Effort::high),
                               {KimiK2Renderer::describe(), &KimiK2Renderer::make}};
  }();
  return all;
}

constexpr std::pair<TrainOnWhat, const char*> kModes[] = {{TrainOnWhat::last_assistant_message, "last_assistant_message"},
                                                          {TrainOnWhat::last_assistant_turn, "last_assistant_turn"},
                                                          {TrainOnWhat::all_assistant_messages, "all_assistant_messages"},
                                                          {TrainOnWhat::all_messages, "all_messages"},
                                                          {TrainOnWhat::all_tokens, "all_tokens"},
                                                          {TrainOnWhat::all_user_and_system_messages, "all_user_and_system_messages"},
                                                          {TrainOnWhat::customized, "customized"}};

}  // namespace

const char* name_of(TrainOnWhat mode) {
  for (const auto& [known, name] : kModes) {
    if (known == mode) return name;
  }
  return "?";
}

Result<TrainOnWhat> parse_train_on_what(std::string_view name) {
  std::string names;
  for (const auto& [mode, known] : kModes) {
    if (name == known) return mode;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  return fail(ErrorCode::invalid_input, "train_on_what \"" + printable(name) + "\" is unknown; accepted: " + names);
}

const char* name_of(Termination termination) {
  switch (termination) {
    case Termination::stop_sequence:
      return "stop_sequence";
    case Termination::eos:
      return "eos";
    case Termination::malformed:
      break;
  }
  return "malformed";
}

Result<std::vector<Message>> Renderer::tools_prefix(const std::vector<ToolSpec>&, const std::string&) const {
  return fail(ErrorCode::invalid_input, "the renderer " + name() + " has no way to tell a model of tools; leave `tools` out, or take a format that has one, as " +
                                            "qwen3, deepseekv3, gpt_oss_no_sysprompt and kimi_k2 do");
}

Result<std::vector<SupervisedExample>> Renderer::build_supervised_examples(const std::vector<Message>& messages,
                                                                           TrainOnWhat train_on) const {
  return build_supervised_example(messages, train_on).map([](SupervisedExample example) { return std::vector{std::move(example)}; });
}

Result<std::shared_ptr<const Renderer>> Renderer::make(std::string_view name, std::shared_ptr<const Tokenizer> tokenizer,
                                                       const RendererOptions& options) {
  const auto wanted = name == "deepseekv3_disable_thinking" ? "deepseekv3" : name;
  const auto format = std::ranges::find_if(formats(), [wanted](const Format& f) { return f.description.name == wanted; });
  if (format != formats().end()) return format->make(std::move(tokenizer), options);
  std::string names;
  for (const auto& known : formats()) names += (names.empty() ? "" : ", ") + known.description.name;
  return fail(ErrorCode::invalid_input, "there is no renderer \"" + printable(name) + "\"; accepted: " + names);
}

std::vector<Description> Renderer::describe_all() {
  std::vector<Description> all;
  for (const auto& format : formats()) all.push_back(format.description);
  return all;
}

}  // namespace pipestill
