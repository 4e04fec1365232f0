// pipestill tokenize: texts to token ids and back.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill::app {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxLineBytes = std::size_t{256} << 20;

struct TokenizeArguments {
  std::string tokenizer;
  std::optional<std::string> text;
  bool is_jsonl = false, is_decode = false, is_plain_text = false, has_special = false, json = false;

  [[nodiscard]] SpecialText special() const { return is_plain_text ? SpecialText::plain_text : SpecialText::recognise; }
  [[nodiscard]] Result<std::vector<Token>> encode(const Tokenizer& with, std::string_view what) const {
    return has_special ? with.encode_with_special_tokens(what, special()) : with.encode(what, special());
  }
};

Result<std::vector<Token>> ids_of_json(const json::value& value, const std::string& place) {
  const auto* list = value.if_array();
  if (!list) return fail(ErrorCode::invalid_input, place + ": ids must be a list of token ids");
  std::vector<Token> ids;
  for (const auto& id : *list) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > 0x7fffffff) {
      return fail(ErrorCode::invalid_input, place + ": ids[" + std::to_string(ids.size()) + "] must be a token id, a number from 0 on");
    }
    ids.push_back(static_cast<Token>(id.get_int64()));
  }
  return ids;
}

/// One line of --jsonl: what it becomes.
Result<json::object> convert_line(const TokenizeArguments& arguments, const Tokenizer& tokenizer, std::string_view line, const std::string& place) {
  const auto document = parse_strict_json(line, place, kMaxLineBytes);
  if (!document) return fail(document.error());
  const char* key = arguments.is_decode ? "ids" : "text";
  const auto* object = document->if_object();
  const auto* value = object ? object->if_contains(key) : nullptr;
  if (!value) return fail(ErrorCode::invalid_input, place + ": expected an object with the key " + key);
  if (arguments.is_decode) {
    const auto ids = ids_of_json(*value, place);
    if (!ids) return fail(ids.error());
    const auto text = tokenizer.decode(*ids);
    if (!text) return fail(text.error().code, place + ": " + text.error().message);
    if (!is_utf8(*text)) return fail(ErrorCode::invalid_input, place + ": these ids are no UTF-8 text, which JSON cannot hold");
    return json::object{{"text", *text}};
  }
  if (!value->is_string()) return fail(ErrorCode::invalid_input, place + ": text must be a string");
  const auto ids = arguments.encode(tokenizer, std::string_view(value->get_string().data(), value->get_string().size()));
  if (!ids) return fail(ids.error().code, place + ": " + ids.error().message);
  return json::object{{"ids", json::array(ids->begin(), ids->end())}};
}

int convert_lines(const TokenizeArguments& arguments, const Tokenizer& tokenizer) {
  std::string line;
  for (std::size_t number = 1; std::getline(std::cin, line); ++number) {
    const auto converted = convert_line(arguments, tokenizer, line, "stdin, line " + std::to_string(number));
    if (!converted) {
      std::cout.flush();
      return report(converted.error());
    }
    std::cout << json::serialize(*converted) << '\n';
  }
  std::cout.flush();
  return std::cout ? kDone : report({ErrorCode::backend_failed, "cannot write to stdout"});
}

/// The ids that stand in a text, apart by white space or commas.
Result<std::vector<Token>> ids_of_text(const std::string& text) {
  constexpr const char* kBetween = " \t\r\n,[]";
  std::vector<Token> ids;
  for (auto begin = text.find_first_not_of(kBetween); begin != std::string::npos;) {
    const auto end = std::min(text.find_first_of(kBetween, begin), text.size());
    const auto word = text.substr(begin, end - begin);
    if (word.size() > 9 || word.find_first_not_of("0123456789") != std::string::npos) {
      return fail(ErrorCode::invalid_input, "\"" + printable(word) + "\" is no token id; --decode takes numbers from 0 on");
    }
    ids.push_back(static_cast<Token>(std::stol(word)));
    begin = text.find_first_not_of(kBetween, end);
  }
  return ids;
}

/// A row a token, for people. A token that is a part of a character shows as U+FFFD.
void print_table(const Tokenizer& tokenizer, const std::vector<Token>& ids) {
  std::printf("%8s  piece\n", "id");
  for (const Token id : ids) {
    const auto piece = tokenizer.decode(std::span(&id, 1));
    std::printf("%8d  \"%s\"\n", id, printable(piece ? *piece : piece.error().message, 200).c_str());
  }
  std::printf("%zu token%s\n", ids.size(), ids.size() == 1 ? "" : "s");
}

int run_tokenize(const TokenizeArguments& arguments) {
  if (arguments.is_jsonl && (arguments.text || arguments.json)) {
    return report({ErrorCode::invalid_input, std::string("--jsonl reads stdin and writes JSON: leave out ") + (arguments.text ? "TEXT" : "--json")});
  }
  const auto tokenizer = Tokenizer::load(arguments.tokenizer);
  if (!tokenizer) return report(tokenizer.error());
  if (arguments.is_jsonl) return convert_lines(arguments, **tokenizer);
  const auto text = arguments.text ? *arguments.text : std::string(std::istreambuf_iterator<char>(std::cin), {});
  const auto ids = arguments.is_decode ? ids_of_text(text) : arguments.encode(**tokenizer, text);
  if (!ids) return report(ids.error());
  const auto decoded = (*tokenizer)->decode(*ids);
  if (!decoded) return report(decoded.error());
  if (arguments.json) {
    if (!is_utf8(*decoded)) return report({ErrorCode::invalid_input, "these ids are no UTF-8 text, which JSON cannot hold; without --json it is printed"});
    std::puts(json::serialize(json::object{{"ids", json::array(ids->begin(), ids->end())}, {"text", *decoded}}).c_str());
  } else if (arguments.is_decode) {
    std::fwrite(decoded->data(), 1, decoded->size(), stdout);
    std::putchar('\n');
  } else {
    print_table(**tokenizer, *ids);
  }
  return kDone;
}

}  // namespace

void add_tokenize(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<TokenizeArguments>();
  auto& command = *program.add_subcommand("tokenize", "Turn texts into token ids, and ids into texts");
  command.add_option("text", arguments->text, "A text, or with --decode ids (default: stdin)");
  command.add_option("--tokenizer", arguments->tokenizer, "A directory with tokenizer.json, tokenizer.model or chars.json, such a file, or \"bytes\"")->required();
  command.add_flag("--jsonl", arguments->is_jsonl, R"(Read {"text":...} lines from stdin, write {"ids":[...]} lines; with --decode the reverse)");
  command.add_flag("--decode", arguments->is_decode, "Ids to texts");
  command.add_flag("--plain-text", arguments->is_plain_text, "The texts of special tokens are ordinary text");
  command.add_flag("--special-tokens", arguments->has_special, "Add the tokens that the vocabulary puts before and behind a text");
  command.add_flag("--json", arguments->json, R"(Print {"ids":[...],"text":"..."} on one line)");
  command.footer("Example: pipestill tokenize --tokenizer examples/tasks/teacher \"3 + 4\"");
  command.callback([arguments, &action] { action = [arguments] { return run_tokenize(*arguments); }; });
}

}  // namespace pipestill::app
