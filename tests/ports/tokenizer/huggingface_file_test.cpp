// tokenizer.json as a file: what is refused, what a directory holds, what a fingerprint sees.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>

#include "tests/ports/support.hpp"
#include "tests/ports/tokenizer/small_tokenizer.hpp"

using namespace pipestill;
using namespace pipestill::testing;
namespace json = boost::json;

namespace {

std::string refusal(const json::object& file) {
  const auto parsed = parse_file(file);
  REQUIRE(!parsed);
  CHECK(parsed.error().code == ErrorCode::invalid_input);
  CHECK(parsed.error().message.starts_with("v/tokenizer.json: "));
  return parsed.error().message;
}

std::string refusal_with(const std::string& key, const std::string& value) {
  auto file = byte_level_file({});
  file[key] = json::parse(value);
  return refusal(file);
}

std::string refused_model(const std::string& key, const std::string& value) {
  auto file = byte_level_file({});
  file["model"].as_object()[key] = json::parse(value);
  return refusal(file);
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("tokenizer.json: errors name the file and the key") {
  CHECK(HuggingFaceTokenizer::parse("[]", "f", "").error().message == "f: expected a JSON object");
  CHECK(HuggingFaceTokenizer::parse("{", "f", "").error().message.starts_with("f:1:2: "));
  CHECK(holds(refusal({}), "model must be an object"));
  CHECK(holds(refused_model("type", R"("Unigram")"), R"(model.type is "Unigram"; BPE)"));
  CHECK(holds(refused_model("dropout", "0.1"), "model.dropout"));
  CHECK(holds(refused_model("vocab", "[]"), "model.vocab must be an object"));
  CHECK(holds(refused_model("vocab", R"({"a":-1})"), "model.vocab.a must be an id"));
  CHECK(holds(refused_model("vocab", R"({"a":2097152})"), "model.vocab.a must be an id below 2097152"));
  CHECK(holds(refused_model("vocab", R"({"a":0,"b":0})"), R"(model.vocab.b has the id 0, as "a" has)"));
  CHECK(holds(refused_model("merges", "null"), "model.merges is missing"));
  CHECK(holds(refused_model("merges", R"(["a b c"])"), R"(model.merges[0] is "a b c"; it must be two tokens with one space)"));
  CHECK(holds(refused_model("merges", R"(["ab"])"), "model.merges[0]"));
  CHECK(holds(refused_model("merges", R"(["a nope"])"), R"(needs the token "nope")"));
  CHECK(holds(refused_model("merges", R"(["q z"])"), R"(needs the token "qz")"));
  CHECK(holds(refused_model("merges", R"([["a","b"],"a b"])"), "model.merges"));
  CHECK(holds(refused_model("byte_fallback", "1"), "model.byte_fallback must be true or false"));
  CHECK(holds(refusal_with("normalizer", R"({"type":"NFKC"})"), R"(normalizer.type is "NFKC"; known are NFC)"));
  CHECK(holds(refusal_with("normalizer", R"({"type":"Sequence"})"), "normalizer.normalizers must be a list"));
  CHECK(holds(refusal_with("pre_tokenizer", R"({"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"Foo"}]})"), R"(pre_tokenizer.pretokenizers[1].type is "Foo")"));
  CHECK(holds(refusal_with("pre_tokenizer", R"x({"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated","invert":false})x"), "pre_tokenizer.pattern is no regular expression"));
  CHECK(holds(refusal_with("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"Isolated"})"), "pre_tokenizer.invert is missing"));
  CHECK(holds(refusal_with("pre_tokenizer", R"({"type":"Split","pattern":"a","behavior":"Isolated","invert":false})"), "pre_tokenizer.pattern must be"));
  CHECK(holds(refusal_with("pre_tokenizer", R"({"type":"Split","pattern":{"String":"a"},"behavior":"Kept","invert":false})"), "pre_tokenizer.behavior"));
  CHECK(holds(refusal_with("decoder", R"({"type":"WordPiece"})"), "decoder.type"));
  CHECK(holds(refusal_with("decoder", R"({"type":"Strip","content":"ab","start":0,"stop":0})"), "decoder.content must be one character"));
  CHECK(holds(refusal_with("decoder", R"({"type":"Strip","content":"a","start":-1,"stop":0})"), "decoder.start"));
  CHECK(holds(refusal_with("post_processor", R"({"type":"TemplateProcessing","single":[]})"), "post_processor.single does not hold the text"));
  CHECK(holds(refusal_with("post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}]})"), "special_tokens.x"));
  CHECK(holds(refusal_with("added_tokens", "{}"), "added_tokens must be a list"));
  CHECK(holds(refusal_with("added_tokens", R"([{"id":0}])"), "added_tokens[0].content is missing"));
  std::string nested = R"({"type":"Digits"})";
  for (int i = 0; i < 65; ++i) nested += R"(,{"type":"Digits"})";
  CHECK(holds(refusal_with("pre_tokenizer", R"({"type":"Sequence","pretokenizers":[)" + nested + "]}"), "64"));
}

TEST_CASE("tokenizer.json: a directory is loaded, saved and loaded again") {
  auto file = byte_level_file();
  add_token(file, "<s>", {{"special", true}});
  add_token(file, "</s>", {{"special", true}});
  const TempDir dir, copy;
  dir.write("tokenizer.json", json::serialize(file));
  dir.write("tokenizer_config.json", R"({"bos_token":{"content":"<s>"},"eos_token":"</s>"})");
  dir.write("chars.json", "not looked at");
  const auto loaded = Tokenizer::load(dir.path().string());
  REQUIRE_MESSAGE(loaded, loaded.error().message);
  CHECK((*loaded)->bos() == 266);
  CHECK((*loaded)->eos() == 267);
  REQUIRE((*loaded)->save(copy.path()));
  const auto again = Tokenizer::load((copy.path() / "tokenizer.json").string()).value();
  CHECK(again->fingerprint() == (*loaded)->fingerprint());
  CHECK(again->eos() == 267);
  CHECK(again->encode("the</s>", SpecialText::recognise).value() == std::vector<Token>{257, 267});
  CHECK(!(*loaded)->save(copy.path() / "none"));
}

TEST_CASE("tokenizer.json: bos and eos are those that transformers finds") {
  auto file = byte_level_file();
  add_token(file, "<s>", {{"special", true}});
  add_token(file, "</s>", {{"special", true}});
  const auto ids = [&](std::initializer_list<std::pair<const char*, const char*>> files) {
    const TempDir dir;
    dir.write("tokenizer.json", json::serialize(file));
    for (const auto& [name, text] : files) dir.write(name, text);
    const auto t = Tokenizer::load(dir.path().string());
    REQUIRE_MESSAGE(t, t.error().message);
    return std::pair((*t)->bos(), (*t)->eos());
  };
  using Ids = std::pair<std::optional<Token>, std::optional<Token>>;
  CHECK(ids({}) == Ids{});
  CHECK(ids({{"config.json", R"({"bos_token_id":1,"eos_token_id":[267,2]})"}}) == Ids{1, 267});
  CHECK(ids({{"config.json", R"({"eos_token_id":1})"}, {"generation_config.json", R"({"eos_token_id":2})"}}) == Ids{std::nullopt, 2});
  CHECK(ids({{"special_tokens_map.json", R"({"bos_token":"<s>","eos_token":"the"})"}}) == Ids{266, 257});
  CHECK(ids({{"tokenizer_config.json", R"({"bos_token":null,"eos_token":"</s>"})"}, {"config.json", R"({"bos_token_id":1,"eos_token_id":2})"}}) == Ids{std::nullopt, 267});
  CHECK(ids({{"config.json", R"({"eos_token_id":99999})"}}) == Ids{});
  const TempDir dir;
  dir.write("tokenizer.json", json::serialize(file));
  const auto wrong = dir.write("tokenizer_config.json", R"({"eos_token":3})");
  CHECK(Tokenizer::load(dir.path().string()).error().message.starts_with(wrong.string() + ": eos_token must be"));
}

TEST_CASE("tokenizer.json: equal tokenizers have equal fingerprints, others do not") {
  const auto file = byte_level_file();
  const auto print = tokenizer_of(file)->fingerprint();
  CHECK(print.size() == 64);
  // Other white space, other order of keys, merges as pairs, ids elsewhere in the text.
  auto same = file;
  auto& merges = same["model"].as_object()["merges"].as_array();
  for (std::size_t i = 0; i < merges.size(); ++i) merges[i] = json::array{kSmallMerges[i].first, kSmallMerges[i].second};
  json::object turned;
  for (auto it = same.end(); it != same.begin();) {
    --it;
    turned[it->key()] = it->value();
  }
  turned["pre_tokenizer"] = json::parse(R"({"use_regex":true, "trim_offsets":true, "add_prefix_space":false, "type":"ByteLevel"})");
  CHECK(HuggingFaceTokenizer::parse("\n " + json::serialize(turned), "x", "/nonexistent").value()->fingerprint() == print);
  const auto differs = [&](auto change) {
    auto other = file;
    change(other);
    return tokenizer_of(other)->fingerprint() != print;
  };
  CHECK(differs([](json::object& f) { f["model"].as_object()["merges"].as_array().pop_back(); }));
  CHECK(differs([](json::object& f) { std::swap(f["model"].as_object()["merges"].as_array()[3], f["model"].as_object()["merges"].as_array()[4]); }));
  CHECK(differs([](json::object& f) { f["model"].as_object()["vocab"].as_object()["zz"] = 266; }));
  CHECK(differs([](json::object& f) { f["model"].as_object()["ignore_merges"] = true; }));
  CHECK(differs([](json::object& f) { f["normalizer"] = json::object{{"type", "NFC"}}; }));
  CHECK(differs([](json::object& f) { add_token(f, "<x>"); }));
}
