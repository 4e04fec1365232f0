// Token ids and texts of Hugging Face tokenizers 0.23.2, over vocabularies that are not ours to ship.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <set>

#include "ports/tokenizer/huggingface_tokenizer.hpp"
#include "tests/ports/support.hpp"
#include "tests/support/conformance.hpp"

using namespace pipestill;
namespace json = boost::json;

namespace {

using Tokens = std::vector<Token>;

/// How many comparisons a file has given, and the cases that disagree.
struct Tally {
  std::string file;
  int cases = 0, comparisons = 0, disagreements = 0;

  void compare(const json::object& item, const char* what, const std::string& want, const std::string& got) {
    ++comparisons;
    if (want == got) return;
    ++disagreements;
    if (disagreements <= 5) FAIL_CHECK(file << ": " << std::string(item.at("id").as_string()) << ", " << what << ": " << got << " instead of " << want);
  }
  void print() const {
    std::printf("%s: %d cases, %d comparisons, %d disagreements\n", file.c_str(), cases, comparisons, disagreements);
    CHECK(cases > 0);
    CHECK(disagreements == 0);
  }
};

Tokens tokens_of(const json::value& list) {
  Tokens tokens;
  for (const auto& id : list.as_array()) tokens.push_back(static_cast<Token>(id.as_int64()));
  return tokens;
}

std::string shown(const Result<Tokens>& tokens) {
  if (!tokens) return tokens.error().message;
  std::string text;
  for (const Token token : *tokens) text += std::to_string(token) + " ";
  return text;
}

std::string shown(const Result<std::string>& text) { return text ? *text : "error: " + text.error().message; }

void run_cases(const HuggingFaceTokenizer& tokenizer, const json::object& document, Tally& tally) {
  static const std::set<std::string> kKnown{"id", "text", "ids", "decoded", "decoded_skip_special", "ids_with_special_tokens", "source"};
  for (const char* section : {"encode", "external", "decode_only"}) {
    const auto* list = document.if_contains(section);
    if (!list) continue;
    for (const auto& value : list->as_array()) {
      const auto& item = value.as_object();
      ++tally.cases;
      for (const auto& [key, unused] : item) {
        CAPTURE(std::string(key));
        CHECK(kKnown.count(std::string(key)) == 1);
      }
      const auto ids = tokens_of(item.at("ids"));
      const auto* text = item.if_contains("text");
      if (text) tally.compare(item, "ids", shown(Result<Tokens>(ids)), shown(tokenizer.encode(std::string(text->as_string()), SpecialText::recognise)));
      if (const auto* with = item.if_contains("ids_with_special_tokens")) {
        tally.compare(item, "ids with special tokens", shown(Result<Tokens>(tokens_of(*with))),
                      shown(tokenizer.encode_with_special_tokens(std::string(text->as_string()), SpecialText::recognise)));
      }
      const auto* decoded = item.if_contains("decoded");
      const auto& plain = decoded ? *decoded : *text;
      tally.compare(item, "text", std::string(plain.as_string()), shown(tokenizer.decode(ids)));
      const auto* skipped = item.if_contains("decoded_skip_special");
      tally.compare(item, "text without special tokens", std::string((skipped ? *skipped : plain).as_string()), shown(tokenizer.decode_without_special(ids)));
    }
  }
}

}  // namespace

TEST_CASE("real tokenizers give the ids and texts of Hugging Face") {
  const auto dir = test::conformance_dir();
  if (!dir) {
    std::puts(test::kNoConformance);
    return;
  }
  std::vector<std::filesystem::path> names;
  for (const auto& entry : std::filesystem::directory_iterator(*dir / "tokenizers")) {
    if (std::filesystem::exists(entry.path() / "tokenizer.json")) names.push_back(entry.path());
  }
  std::sort(names.begin(), names.end());
  CHECK(names.size() >= 10);
  for (const auto& name : names) {
    const auto file = name / "tokenizer.json";
    const auto tokenizer = HuggingFaceTokenizer::parse(testing::read_file(file), file.string(), name);
    REQUIRE_MESSAGE(tokenizer, tokenizer.error().message);
    Tally tally{name.filename().string() + "/cases.json"};
    run_cases(**tokenizer, test::read_json(name / "cases.json").as_object(), tally);
    tally.print();
    if (!std::filesystem::exists(name / "split_special_cases.json")) continue;
    Tally split{name.filename().string() + "/split_special_cases.json"};
    const auto document = test::read_json(name / "split_special_cases.json");
    for (const auto& value : document.at("cases").as_array()) {
      const auto& item = value.as_object();
      const std::string text(item.at("text").as_string());
      ++split.cases;
      split.compare(item, "ids", shown(Result<Tokens>(tokens_of(item.at("ids_default")))), shown((*tokenizer)->encode(text, SpecialText::recognise)));
      split.compare(item, "ids of plain text", shown(Result<Tokens>(tokens_of(item.at("ids_split_special")))), shown((*tokenizer)->encode(text, SpecialText::plain_text)));
    }
    split.print();
  }
}

TEST_CASE("tokenizers with one feature each give the ids and texts of Hugging Face") {
  const auto dir = test::conformance_dir();
  if (!dir) {
    std::puts(test::kNoConformance);
    return;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(*dir / "tokenizers/synthetic")) {
    if (entry.path().extension() == ".json" && entry.path().filename() != "_load_errors.json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  CHECK(files.size() == 25);
  for (const auto& file : files) {
    const auto document = test::read_json(file);
    const auto tokenizer = HuggingFaceTokenizer::parse(json::serialize(document.at("tokenizer_json")), file.string(), "/nonexistent");
    REQUIRE_MESSAGE(tokenizer, tokenizer.error().message);
    Tally tally{"synthetic/" + file.filename().string()};
    run_cases(**tokenizer, document.as_object(), tally);
    tally.print();
  }
}

TEST_CASE("files that Hugging Face refuses are refused, and those that it reads are read") {
  const auto dir = test::conformance_dir();
  if (!dir) {
    std::puts(test::kNoConformance);
    return;
  }
  const auto document = test::read_json(*dir / "tokenizers/synthetic/_load_errors.json");
  int cases = 0;
  for (const auto& [name, value] : document.at("cases").as_object()) {
    ++cases;
    CAPTURE(std::string(name));
    const auto tokenizer = HuggingFaceTokenizer::parse(json::serialize(value.at("tokenizer_json")), "f/tokenizer.json", "/nonexistent");
    CHECK(tokenizer.has_value() == value.at("loads").as_bool());
    if (!tokenizer) {
      CHECK(tokenizer.error().code == ErrorCode::invalid_input);
      CHECK(tokenizer.error().message.starts_with("f/tokenizer.json: "));
    } else {
      CHECK((*tokenizer)->encode("the <w>", SpecialText::recognise).value() == tokens_of(value.at("enc_the_<w>")));
    }
  }
  std::printf("synthetic/_load_errors.json: %d cases\n", cases);
  CHECK(cases == 11);
}
