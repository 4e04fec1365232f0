#include "ports/tokenizer/bpe_trainer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <pcg_random.hpp>

#include "ports/tokenizer/huggingface_tokenizer.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using namespace pipestill::testing;
namespace json = boost::json;

namespace {

using Texts = std::vector<std::string>;

BpeVocabulary trained(const Texts& texts, BpeTrainingOptions options) {
  auto trainer = BpeTrainer::make(std::move(options)).value();
  for (const auto& text : texts) REQUIRE(trainer.add(text));
  return trainer.train();
}

Texts merges_of(const BpeVocabulary& vocabulary) {
  Texts merges;
  for (const auto& merge : vocabulary.tokenizer.at("model").at("merges").as_array()) merges.emplace_back(merge.as_string());
  return merges;
}

/// The tokens that are neither special nor a byte, by id.
Texts merged_tokens(const BpeVocabulary& vocabulary, std::size_t specials) {
  const auto& vocab = vocabulary.tokenizer.at("model").at("vocab").as_object();
  Texts texts(vocab.size());
  for (const auto& [text, id] : vocab) texts.at(id.to_number<std::size_t>()) = text;
  texts.erase(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(specials) + 256);
  return texts;
}

struct SlowVocabulary {
  Texts merges, tokens;
};

/// The definition: all pairs are counted anew for every merge. `words` are letters alone, so that each is one piece and a byte's token is its letter.
SlowVocabulary trained_slowly(const Texts& words, const BpeTrainingOptions& options) {
  SlowVocabulary out;
  Texts texts(256);  // by id; the letters' are in their order, as in the alphabet
  for (char letter = 'a'; letter <= 'z'; ++letter) texts[static_cast<std::size_t>(letter)] = letter;
  std::vector<std::vector<std::size_t>> pieces;
  for (const auto& word : words) pieces.emplace_back(word.begin(), word.end());
  while (options.special_tokens.size() + texts.size() < options.vocab_size) {
    std::map<std::pair<std::size_t, std::size_t>, std::int64_t> counts;
    for (const auto& piece : pieces) {
      for (std::size_t i = 0; i + 1 < piece.size(); ++i) ++counts[{piece[i], piece[i + 1]}];
    }
    std::int64_t most = options.min_count - 1;
    std::pair<std::size_t, std::size_t> best;
    for (const auto& [pair, count] : counts) {
      if (count > most && std::ranges::count(options.special_tokens, texts[pair.first] + texts[pair.second]) == 0) most = count, best = pair;
    }
    if (most < options.min_count) break;
    const auto token = texts[best.first] + texts[best.second], merge = texts[best.first] + " " + texts[best.second];
    const auto id = static_cast<std::size_t>(std::ranges::find(texts, token) - texts.begin());
    if (id == texts.size()) {
      texts.push_back(token);
      out.tokens.push_back(token);
    }
    if (std::ranges::count(out.merges, merge) == 0) out.merges.push_back(merge);
    for (auto& piece : pieces) {
      for (std::size_t i = 0; i + 1 < piece.size(); ++i) {
        if (piece[i] != best.first || piece[i + 1] != best.second) continue;
        piece[i] = id;
        piece.erase(piece.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return out;
}

std::string training_refusal(BpeTrainingOptions options) {
  const auto trainer = BpeTrainer::make(std::move(options));
  REQUIRE(!trainer);
  CHECK(trainer.error().code == ErrorCode::invalid_input);
  return trainer.error().message;
}

}  // namespace

TEST_CASE("BPE training: the most frequent pair merges first, of equal ones the one with the lower ids") {
  // e s and s t: 9 times; l o and o w: 7; then e w, w est, n e, and the space before l and n: 6.
  const Texts texts{"low low low low low lower lower newest newest newest newest newest newest widest widest widest"};
  const auto vocabulary = trained(texts, {.vocab_size = 261 + 6});
  CHECK(merges_of(vocabulary) == Texts{"e s", "es t", "l o", "lo w", "e w", "n ew"});
  CHECK(merged_tokens(vocabulary, 5) == Texts{"es", "est", "lo", "low", "ew", "new"});
  CHECK(vocabulary.tokens == 267);
  CHECK(vocabulary.merges == 6);
  CHECK(merges_of(trained({"ba", "ba", "ac", "ac"}, {.vocab_size = 262})) == Texts{"a c"});
  CHECK(merges_of(trained({"bc", "bc", "ba", "ba"}, {.vocab_size = 262})) == Texts{"b a"});
}

TEST_CASE("BPE training: overlapping pairs all count, and merge from the left") {
  // a a: 2 a piece, twice; b c: three times.
  CHECK(merges_of(trained({"aaa", "aaa", "bc", "bc", "bc"}, {.vocab_size = 264})) == Texts{"a a", "b c", "aa a"});
  CHECK(merges_of(trained({"ababab", "ababab"}, {.vocab_size = 264})) == Texts{"a b", "ab ab", "abab ab"});
}

TEST_CASE("BPE training: a pair that spells a special token stays apart") {
  const auto apart = trained({"abab", "abab", "cd", "cd"}, {.vocab_size = 300, .special_tokens = {"ab", "<e>"}, .eos_token = "<e>"});
  CHECK(merges_of(apart) == Texts{"b a", "a ba", "c d", "aba b"});
}

TEST_CASE("BPE training: any words give what the definition gives") {
  pcg32 random(20261123);
  const auto below = [&random](std::uint32_t n) { return random(n); };
  std::size_t merges = 0, full = 0;
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    Texts words(1 + below(40));
    const auto letters = 2 + below(4);
    for (auto& word : words) {
      word.resize(below(16));
      for (auto& letter : word) letter = static_cast<char>('a' + std::min(below(letters), below(letters)));
    }
    const BpeTrainingOptions options{.vocab_size = 258 + below(100), .min_count = 1 + static_cast<std::int64_t>(below(3)), .special_tokens = {"<e>", "bab"}, .eos_token = "<e>"};
    const auto want = trained_slowly(words, options);
    const auto got = trained(words, options);
    CHECK(merges_of(got) == want.merges);
    CHECK(merged_tokens(got, 2) == want.tokens);
    CHECK(want.tokens.size() == want.merges.size());  // no two pairs spell the same token
    std::ranges::reverse(words);
    CHECK(json::serialize(trained(words, options).tokenizer) == json::serialize(got.tokenizer));
    merges += want.merges.size();
    full += got.tokens == options.vocab_size ? 1U : 0U;
  }
  CHECK(merges > 1000);  // so that what is rare was met
  CHECK(full > 10);
  CHECK(full < 50);
}

TEST_CASE("BPE training: pieces are words with the space before them, and single digits") {
  const auto vocabulary = trained({"at 2024 at 2024 at 2024", "日日 日日 日日"}, {.vocab_size = 400});
  for (const auto& merge : merges_of(vocabulary)) {
    CAPTURE(merge);
    CHECK(merge.find_first_of("024") == std::string::npos);
  }
  const auto tokens = merged_tokens(vocabulary, 5);
  CHECK(std::ranges::count(tokens, "at") == 1);
  CHECK(std::ranges::count(tokens, "Ġat") == 1);
  CHECK(std::ranges::none_of(tokens, [](const std::string& token) { return token.ends_with("Ġ"); }));
  CHECK(std::ranges::count(tokens, "æĹ¥æĹ¥") == 1);
}

TEST_CASE("BPE training: the file is a tokenizer, with special tokens first and an end") {
  const TempDir dir;
  const auto vocabulary = trained({"the theme <|end|> the theme <|end|>"}, {.vocab_size = 270});
  dir.write("tokenizer.json", json::serialize(vocabulary.tokenizer));
  dir.write("tokenizer_config.json", json::serialize(vocabulary.config));
  const auto tokenizer = Tokenizer::load(dir.path().string()).value();
  CHECK(tokenizer->vocab_size() == 270);
  CHECK(tokenizer->eos() == 4);
  CHECK(!tokenizer->bos());
  Token id = 0;
  for (const auto text : {kPadToken, kSystemToken, kUserToken, kAssistantToken, kEndToken}) CHECK(tokenizer->special_token(text) == id++);
  CHECK(tokenizer->encode("<|user|><|end|>", SpecialText::recognise).value() == std::vector<Token>{2, 4});
  const auto plain = tokenizer->encode("<|end|>", SpecialText::plain_text).value();
  CHECK(std::ranges::all_of(plain, [](Token token) { return token > 4; }));
  std::string bytes;
  for (int code = 1; code < 0x800; ++code) {  // every byte that UTF-8 has up to there, and what it becomes
    const auto text = code < 0x80 ? std::string(1, static_cast<char>(code)) : std::string{static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
    bytes += text;
  }
  CHECK(tokenizer->decode(tokenizer->encode(bytes, SpecialText::plain_text).value()).value() == bytes);
}

TEST_CASE("BPE training: no more merges than there are pairs") {
  const auto none = trained({}, {.vocab_size = 1000});
  CHECK(none.tokens == 261);
  CHECK(none.merges == 0);
  CHECK(trained({"ab"}, {.vocab_size = 1000}).merges == 0);  // once
  CHECK(trained({"ab"}, {.vocab_size = 1000, .min_count = 1}).merges == 1);
  CHECK(trained({"abab"}, {.vocab_size = 261}).merges == 0);
}

TEST_CASE("BPE training: what is wrong is named") {
  CHECK(training_refusal({.vocab_size = 260}) == "a vocabulary of 260 tokens: the 256 bytes and 5 special tokens need 261, and at most 2097152 can be read");
  CHECK(training_refusal({.vocab_size = 3'000'000}).find("at most 2097152") != std::string::npos);
  CHECK(training_refusal({.min_count = 0}) == "a least count of 0: a pair that merges occurs at least once");
  CHECK(training_refusal({.special_tokens = {"<e>", "<e>"}, .eos_token = "<e>"}) == "special token \"<e>\" is given twice");
  CHECK(training_refusal({.special_tokens = {"<e>", ""}, .eos_token = "<e>"}) == "a special token is empty; name a text that marks it");
  CHECK(training_refusal({.special_tokens = {"<e>", "\xff"}, .eos_token = "<e>"}) == "special token \"\\xff\" is not UTF-8");
  CHECK(training_refusal({.special_tokens = {"<e>", "Ġ"}, .eos_token = "<e>"}) == "special token \"Ġ\" is how tokenizer.json writes a byte; name a longer text");
  CHECK(training_refusal({.special_tokens = {"<e>", std::string(5000, 'x')}, .eos_token = "<e>"}).find("has 5000 bytes") != std::string::npos);
  CHECK(training_refusal({.eos_token = "</s>"}) == "the end token \"</s>\" is none of the special tokens; name one of them");
  auto trainer = BpeTrainer::make().value();
  const auto added = trainer.add("abab\xc3");
  REQUIRE(!added);
  CHECK(added.error().code == ErrorCode::invalid_input);
  CHECK(added.error().message == "text to be trained on is not UTF-8 at byte 5");
  CHECK(trainer.train().merges == 0);
}
