#include "ports/renderer/recommended.hpp"

#include <algorithm>

#include "ports/printable.hpp"
#include "ports/renderer/renderer.hpp"

namespace pipestill {
namespace {

struct KnownModel {
  std::string_view organisation, model, renderer;
};

constexpr KnownModel kKnownModels[] = {
    {"meta-llama", "Llama-3.1-8B-Instruct", "llama3"},
    {"meta-llama", "Llama-3.3-70B-Instruct", "llama3"},
    {"meta-llama", "Llama-3.2-1B", "role_colon"},
    {"meta-llama", "Llama-3.2-3B", "role_colon"},
    {"meta-llama", "Llama-3.1-8B", "role_colon"},
    {"meta-llama", "Llama-3.1-70B", "role_colon"},
    {"Qwen", "Qwen3-8B", "qwen3"},
    {"Qwen", "Qwen3-32B", "qwen3"},
    {"Qwen", "Qwen3-30B-A3B", "qwen3"},
    {"Qwen", "Qwen3-4B-Instruct-2507", "qwen3_instruct"},
    {"Qwen", "Qwen3-30B-A3B-Instruct-2507", "qwen3_instruct"},
    {"Qwen", "Qwen3-235B-A22B-Instruct-2507", "qwen3_instruct"},
    {"Qwen", "Qwen3-8B-Base", "role_colon"},
    {"Qwen", "Qwen3-30B-A3B-Base", "role_colon"},
    {"Qwen", "Qwen3.5-9B-Base", "role_colon"},
    {"Qwen", "Qwen3.5-35B-A3B-Base", "role_colon"},
    {"Qwen", "Qwen3-VL-30B-A3B-Instruct", "qwen3_vl_instruct"},
    {"Qwen", "Qwen3-VL-235B-A22B-Instruct", "qwen3_vl_instruct"},
    {"deepseek-ai", "DeepSeek-V3.1", "deepseekv3"},
    {"deepseek-ai", "DeepSeek-V3.1-Base", "role_colon"},
    {"openai", "gpt-oss-20b", "gpt_oss_no_sysprompt"},
    {"openai", "gpt-oss-120b", "gpt_oss_no_sysprompt"},
    {"moonshotai", "Kimi-K2-Thinking", "kimi_k2"},
};

}  // namespace

Result<RendererChoice> recommended_renderer(std::string_view model) {
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::invalid_input, "no renderer is recommended for the model \"" + printable(model) + "\": " + why + "; name one");
  };
  const auto name = model.substr(0, model.find(':'));
  const auto slash = name.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == name.size() || name.find('/', slash + 1) != std::string_view::npos) {
    return refuse("it is not of the form organisation/model");
  }
  const auto organisation = name.substr(0, slash), rest = name.substr(slash + 1);
  const auto is_known = [organisation](const KnownModel& m) { return m.organisation == organisation; };
  if (std::ranges::none_of(kKnownModels, is_known)) return refuse("the organisation is unknown");
  const auto found = std::ranges::find_if(kKnownModels, [&](const KnownModel& m) { return is_known(m) && m.model == rest; });
  if (found == std::end(kKnownModels)) return refuse("the organisation's model is unknown");
  const auto all = Renderer::describe_all();
  if (std::ranges::none_of(all, [&](const Description& d) { return d.name == found->renderer; })) {
    return refuse("it was trained with " + std::string(found->renderer) + ", which does not exist here");
  }
  return RendererChoice{std::string(found->renderer),
                        "renderer " + std::string(found->renderer) + ", which tinker-cookbook recommends for " + std::string(name)};
}

}  // namespace pipestill
