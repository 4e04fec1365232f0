// pipestill render: what a model sees of a conversation, and which of its tokens an example trains on.
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "ports/printable.hpp"
#include "ports/renderer/recommended.hpp"
#include "ports/renderer/render_case.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace pipestill::app {
namespace {

struct RenderArguments {
  std::string conversation, tokenizer;
  std::optional<std::string> renderer, model, train_on_what, current_date;
  bool prompt = false, keep_thinking = false, system_as_user = false, json = false, jsonl = false;
};

/// One question a line in, one answer a line out.
int run_lines(const std::shared_ptr<const Tokenizer>& tokenizer) {
  std::string line;
  for (std::uint64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto question = parse_strict_json(line, "line " + std::to_string(number));
    if (!question) return report(question.error());
    const auto answer = answer_render_case(*question, "line " + std::to_string(number), tokenizer);
    if (!answer) return report(answer.error());
    std::puts(boost::json::serialize(*answer).c_str());
    std::fflush(stdout);
  }
  return kDone;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  char text[16] = "";
  if (localtime_r(&now, &local)) std::strftime(text, sizeof text, "%Y-%m-%d", &local);
  return text;
}

/// What is asked, and what people are told of it.
struct RenderTask {
  boost::json::object question;
  std::string notice;
};

/// The conversation, as a list of messages or in an object's `messages`, with what --renderer or --model says.
Result<RenderTask> task_of(const RenderArguments& arguments, const std::shared_ptr<const Tokenizer>& tokenizer) {
  const auto text = read_text_file(arguments.conversation, kMaxJsonBytes);
  if (!text) return fail(text.error());
  auto document = parse_strict_json(*text, arguments.conversation);
  if (!document) return fail(std::move(document).error());
  boost::json::value messages = *document;
  std::optional<boost::json::value> tools;
  if (const auto* object = document->if_object()) {
    if (const auto* list = object->if_contains("tools")) tools = *list;
    const auto* found = object->if_contains("messages");
    if (!found)
      return fail(ErrorCode::invalid_input,
                  arguments.conversation + " holds no `messages`; expected a list of messages, or an object with one");
    messages = *found;
  }
  std::string renderer, why;
  if (arguments.renderer) {
    renderer = *arguments.renderer;
    why = "renderer " + renderer + ", as --renderer says";
  } else if (arguments.model) {
    auto choice = recommended_renderer(*arguments.model);
    if (!choice) return fail(std::move(choice).error());
    renderer = std::move(choice->name);
    why = std::move(choice->why);
  } else {
    return fail(ErrorCode::invalid_input, "--renderer or --model is missing: one of them says which format the conversation is written in");
  }
  RendererOptions options{.current_date = arguments.current_date};
  if (arguments.keep_thinking) options.strip_thinking_from_history = false;
  if (arguments.system_as_user) options.system_role_as_user = true;
  if (!options.current_date && renderer.starts_with("gpt_oss_") && renderer.ends_with("_reasoning")) {
    options.current_date = today();
    why += ", with the date of today for want of --current-date";
  }
  // Here, so that what is wrong with them is not put down to the conversation.
  if (auto made = Renderer::make(renderer, tokenizer, options); !made) return fail(std::move(made).error());
  boost::json::object given, args;
  if (options.strip_thinking_from_history) given["strip_thinking_from_history"] = *options.strip_thinking_from_history;
  if (options.system_role_as_user) given["system_role_as_user"] = *options.system_role_as_user;
  if (options.current_date) given["current_date"] = *options.current_date;
  // A conversation that waits for an answer is a prompt.
  const auto* list = messages.if_array();
  const auto* last = list && !list->empty() ? list->back().if_object() : nullptr;
  const auto* role = last ? last->if_contains("role") : nullptr;
  const bool is_answered = role && role->is_string() && role->get_string() == "assistant";
  const bool is_prompt = arguments.prompt || (!arguments.train_on_what && !is_answered);
  if (!is_prompt && arguments.train_on_what) args["train_on_what"] = *arguments.train_on_what;
  why += is_prompt ? "; a prompt, on which nothing is trained" : "; trained: " + arguments.train_on_what.value_or("last_assistant_message");
  RenderTask task{{{"kind", is_prompt ? "generation_prompt" : "supervised"},
                   {"renderer", renderer},
                   {"renderer_options", std::move(given)},
                   {"messages", std::move(messages)},
                   {"args", std::move(args)}},
                  std::move(why)};
  if (tools) task.question["tools"] = *std::move(tools);
  return task;
}

/// Text of others, as it stands, but nothing in it that a terminal takes for a command.
std::string shown_lines(std::string_view text) {
  std::string shown;
  for (;;) {
    const auto end = text.find('\n');
    shown += printable(text.substr(0, end), std::numeric_limits<std::size_t>::max());
    if (end == std::string_view::npos) return shown;
    shown += '\n';
    text.remove_prefix(end + 1);
  }
}

void print_spans(const boost::json::object& answer) {
  const bool is_coloured = isatty(STDOUT_FILENO) == 1 && !std::getenv("NO_COLOR");
  const std::string begin = is_coloured ? "\x1b[1;32m" : "⟦", end = is_coloured ? "\x1b[0m" : "⟧";
  std::string out;
  std::size_t trained = 0;
  if (const auto* spans = answer.if_contains("spans")) {
    for (const auto& span : spans->get_array()) {
      const auto text = shown_lines(span.at(0).get_string());
      const bool is_trained = span.at(1).to_number<double>() > 0;
      out += is_trained ? begin + text + end : text;
    }
    for (const auto& run : answer.at("weights_rle").get_array()) {
      if (run.at(0).to_number<double>() > 0) trained += run.at(1).to_number<std::size_t>();
    }
  } else {
    out = shown_lines(answer.at("text").get_string());
  }
  std::puts(out.c_str());
  std::fprintf(stderr, "pipestill: %zu tokens, %zu of them trained\n", answer.at("tokens").get_array().size(), trained);
}

int run_render(const RenderArguments& arguments) {
  auto tokenizer = Tokenizer::load(arguments.tokenizer);
  if (!tokenizer) return report(tokenizer.error());
  if (arguments.jsonl) {
    if (!arguments.conversation.empty()) return report({ErrorCode::invalid_input, "--jsonl reads standard input; leave CONVERSATION out"});
    return run_lines(*tokenizer);
  }
  if (arguments.conversation.empty())
    return report({ErrorCode::invalid_input, "CONVERSATION is missing: a JSON file with a list of messages, or --jsonl"});
  const auto task = task_of(arguments, *tokenizer);
  if (!task) return report(task.error());
  const auto answer = answer_render_case(task->question, arguments.conversation, *tokenizer);
  if (!answer) return report(answer.error());
  if (const auto* error = answer->if_contains("error")) {
    return report({ErrorCode::invalid_input, arguments.conversation + ": " + std::string(error->get_string())});
  }
  std::fprintf(stderr, "pipestill: %s\n", task->notice.c_str());
  if (arguments.json) {
    std::puts(boost::json::serialize(*answer).c_str());
  } else {
    print_spans(*answer);
  }
  return kDone;
}

}  // namespace

void add_render(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<RenderArguments>();
  auto& command = *program.add_subcommand("render", "Show what a model sees of a conversation, and which part of it an example trains on");
  command.add_option("CONVERSATION", arguments->conversation, "A JSON file: a list of messages, or an object with `messages` and, if they are declared, `tools`");
  command.add_option("--tokenizer", arguments->tokenizer, "bytes, or the directory of a vocabulary")->required();
  auto* by_name = command.add_option("--renderer", arguments->renderer, "The format, by name (pipestill describe lists them)");
  command.add_option("--model", arguments->model, "The format that is recommended for this model, e.g. Qwen/Qwen3-8B")->excludes(by_name);
  command.add_option("--train-on-what", arguments->train_on_what,
                     "last_assistant_message (default, if the last message is the assistant's), last_assistant_turn, "
                     "all_assistant_messages, all_messages, "
                     "all_tokens, all_user_and_system_messages or customized");
  command.add_flag("--prompt", arguments->prompt, "The prompt for the next answer, instead of an example (default, if it is not answered)");
  command.add_flag("--keep-thinking", arguments->keep_thinking, "Keep the thinking in earlier answers");
  command.add_flag("--system-as-user", arguments->system_as_user, "Write later system messages as the user's, where the format has none");
  command.add_option("--current-date", arguments->current_date, "YYYY-MM-DD, for formats that say it (default: today)");
  command.add_flag("--json", arguments->json, "Print one JSON object: text, tokens, chunk lengths, weights, spans");
  command.add_flag("--jsonl", arguments->jsonl,
                   "Read questions from standard input, an object a line with kind, renderer, renderer_options, messages and tools, or "
                   "response_tokens, and args; write "
                   "an answer a line");
  command.footer(
      "What is trained is green on a terminal and stands in ⟦ ⟧ elsewhere, or where NO_COLOR is set.\n"
      "Example: pipestill render conversation.json --tokenizer examples/tasks/teacher --renderer role_tokens");
  command.callback([arguments, &action] { action = [arguments] { return run_render(*arguments); }; });
}

}  // namespace pipestill::app
