#include "ports/tokenizer/sentencepiece_tokenizer.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <limits>
#include <thread>

#include "tests/ports/support.hpp"
#include "tests/support/sentencepiece_model.hpp"

using namespace pipestill;
using testing::TempDir;
using Model = test::SentencePieceModel;

namespace {

using Tokens = std::vector<Token>;
using SentencePiece = std::shared_ptr<const SentencePieceTokenizer>;

SentencePiece load(const Model& model) {
  auto made = SentencePieceTokenizer::parse(model.bytes(), "v/tokenizer.model");
  REQUIRE_MESSAGE(made, made.error().message);
  return *made;
}

Tokens plain(const SentencePiece& tokenizer, const std::string& text) { return tokenizer->encode(text, SpecialText::plain_text).value(); }
Tokens recognised(const SentencePiece& tokenizer, const std::string& text) { return tokenizer->encode(text, SpecialText::recognise).value(); }

/// 5 is the space mark; 8 to 10 merge, the highest score first.
Model small_model() {
  Model model;
  model.usual_symbols().piece("<sep>", 0, Model::kControl).piece("<user>", 0, Model::kUserDefined);
  return model.piece("\xe2\x96\x81", -10).piece("a", -11).piece("b", -12).piece("ab", 0).piece("\xe2\x96\x81" "a", -1).piece("\xe2\x96\x81" "ab", -2);
}

std::string refused_bytes(const std::string& bytes) {
  const auto made = SentencePieceTokenizer::parse(bytes, "v/tokenizer.model");
  REQUIRE(!made);
  CHECK(made.error().code == ErrorCode::invalid_input);
  CHECK(made.error().message.starts_with("v/tokenizer.model is no "));
  CHECK(made.error().message.find('\n') == std::string::npos);
  return made.error().message;
}
std::string refused_model(const Model& model) { return refused_bytes(model.bytes()); }

bool says(const std::string& sentence, const std::string& part) {
  INFO(sentence);
  CHECK(sentence.find(part) != std::string::npos);
  return sentence.find(part) != std::string::npos;
}

std::string refused_charsmap(const std::string& map) { return refused_model(small_model().charsmap(map)); }

}  // namespace

TEST_CASE("tokenizer.model: BPE merges the pair of the highest score first") {
  const auto t = load(small_model());
  CHECK(t->vocab_size() == 11);
  CHECK(plain(t, "ab") == Tokens{10});
  CHECK(plain(t, "aab") == Tokens{9, 8});
  CHECK(plain(t, "  b  ab ") == Tokens{5, 7, 10});  // the model drops spaces that say nothing
  CHECK(plain(t, "").empty());
  CHECK(plain(t, "axb") == Tokens{9, 0, 7});
  CHECK(t->decode(Tokens{9, 0, 7}).value() == "a \xe2\x81\x87 b");
  CHECK(t->decode(Tokens{10, 5, 7}).value() == "ab b");
  CHECK(t->bos() == 1);
  CHECK(t->eos() == 2);
}

TEST_CASE("tokenizer.model: unigram takes the most probable pieces of all, not the best pair first") {
  const auto with = [](int algorithm) {
    Model model(algorithm);
    model.usual_symbols().normalizer_number(3, 0);
    for (const char* letter : {"a", "b", "c", "d"}) model.piece(letter, -10);
    return load(model.piece("bc", -0.5F).piece("ab", -1).piece("cd", -1));
  };
  CHECK(plain(with(Model::kUnigram), "abcd") == Tokens{8, 9});
  CHECK(plain(with(Model::kBpe), "abcd") == Tokens{3, 7, 6});
}

TEST_CASE("tokenizer.model: control symbols are no text unless they are to be recognised; user-defined ones always are") {
  const auto t = load(small_model().piece("<", -20).piece("s", -20).piece(">", -20));
  CHECK(plain(t, "<s>") == Tokens{5, 11, 12, 13});
  CHECK(recognised(t, "<s>") == Tokens{1});
  CHECK(recognised(t, "<s>ab<sep>b</s>") == Tokens{1, 10, 3, 5, 7, 2});  // what stands between is a text of its own
  CHECK(plain(t, "a<user>b") == Tokens{9, 4, 7});
  CHECK(recognised(t, "a<user>b") == Tokens{9, 4, 7});
  CHECK(recognised(t, "<unk>").size() > 1);
  CHECK(t->special_token("<sep>") == 3);
  CHECK(t->special_token("<user>") == 4);
  for (const char* none : {"", "ab", "<unk>", "<none>"}) CHECK(!t->special_token(none));
  CHECK(t->decode(Tokens{1, 10, 3, 5, 7, 2}).value() == "<s>ab<sep>b</s>");
  CHECK(t->decode(Tokens{}).value().empty());
}

TEST_CASE("tokenizer.model: of control symbols that begin together the longest counts") {
  Model model;
  model.usual_symbols().piece("<s>x", 0, Model::kControl).piece("\xe2\x96\x81", -1).piece("x", -1);
  CHECK(recognised(load(model), "<s>x<s>") == Tokens{3, 1});
}

TEST_CASE("tokenizer.model: characters without a piece become bytes, and bytes that are no UTF-8 become U+FFFD") {
  Model model;
  model.usual_symbols().every_byte();
  const auto t = load(model.piece("\xe2\x96\x81", -1).piece("a", -2));
  const auto byte = [](unsigned value) { return static_cast<Token>(3 + value); };
  CHECK(plain(t, "a\xc3\xa9") == Tokens{259, 260, byte(0xc3), byte(0xa9)});
  CHECK(t->decode(Tokens{259, 260, byte(0xc3), byte(0xa9)}).value() == "a\xc3\xa9");
  CHECK(t->decode(Tokens{byte(0xe6), byte(0x97), 260}).value() == "\xef\xbf\xbd\xef\xbf\xbd" "a");
  for (const char* text : {"a \xf0\x9f\x98\x80 \xe6\x97\xa5", "a\nb\tc", "\x01"}) CHECK(t->decode(plain(t, text)).value() == text);
  CHECK(plain(t, std::string("a\0a", 3)) == Tokens{259, 260, byte(0), 260});
}

TEST_CASE("tokenizer.model: what cannot be encoded or decoded is said in a sentence") {
  const auto t = load(small_model());
  for (const auto special : {SpecialText::plain_text, SpecialText::recognise}) {
    const auto tokens = t->encode("ab\xff", special);
    REQUIRE(!tokens);
    CHECK(tokens.error().code == ErrorCode::invalid_input);
    CHECK(tokens.error().message == "text to be encoded is not UTF-8 at byte 3");
  }
  for (const Token wrong : {Token{-1}, Token{11}, std::numeric_limits<Token>::max()}) {
    const auto text = t->decode(Tokens{10, wrong});
    REQUIRE(!text);
    CHECK(text.error().message == "token " + std::to_string(wrong) + " is outside the vocabulary, which has the ids 0 to 10");
  }
}

TEST_CASE("tokenizer.model: a model without bos and eos has none") {
  Model model;
  const auto t = load(model.piece("<unk>", 0, Model::kUnknown).piece("<s>", -1).piece("\xe2\x96\x81", -1));
  CHECK(!t->bos());
  CHECK(!t->eos());
  const auto named = load(Model().usual_symbols().piece("[B]", 0, Model::kControl).piece("\xe2\x96\x81", -1).trainer_text(46, "[B]"));
  CHECK(named->bos() == 3);
}

TEST_CASE("tokenizer.model: the model's rules are applied before it") {
  const auto t = load(small_model().charsmap(test::charsmap_of_letters_a(2, "a")));
  CHECK(plain(t, "Ab") == Tokens{10});
  CHECK(plain(t, "AAb") == Tokens{10});  // the longest rule
  CHECK(plain(t, "AAAb") == Tokens{9, 8});
}

TEST_CASE("tokenizer.model: files that are no model, or would lead the library astray, are refused by name") {
  says(refused_bytes(""), "it has no pieces");
  says(refused_bytes("IQ== 0\nIg== 1\n"), "it has no pieces");  // tiktoken's file of that name
  says(refused_bytes(std::string("\x0a\xff\xff\xff\xff\x0f", 6)), "protocol buffer");
  const auto whole = small_model().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {  // cut anywhere, it is refused or ends between two fields
    const auto made = SentencePieceTokenizer::parse(whole.substr(0, size), "v/tokenizer.model");
    if (!made) CHECK(made.error().code == ErrorCode::invalid_input);
  }
  says(refused_model(small_model().raw("\x0b")), "protocol buffer");                        // a group
  says(refused_model(small_model().raw(Model::number_field(1, 7))), "another kind");        // a piece that is a number
  says(refused_model(small_model().raw(std::string(11, '\xff'))), "protocol buffer");       // a number that does not end
  says(refused_model(small_model().piece("ab")), "the piece \"ab\" is there twice");
  says(refused_model(small_model().piece("")), "piece 11 is empty");
  says(refused_model(small_model().piece("\xff")), "no UTF-8");
  says(refused_model(small_model().piece(std::string("a\0", 2))), "without NUL");
  says(refused_model(small_model().piece(std::string(1025, 'x'))), "at most 1024");
  says(refused_model(small_model().piece("x", std::numeric_limits<float>::quiet_NaN())), "no finite number");
  says(refused_model(small_model().piece("x", 0, 9)), "of type 9");
  says(refused_model(small_model().piece("<u>", 0, Model::kUnknown)), "2 unknown pieces");
  says(refused_model(Model().piece("a")), "0 unknown pieces");
  says(refused_model(small_model().piece("<0x41>", 0, Model::kByte)), "byte_fallback is off");
  says(refused_model(small_model().trainer_number(35, 1)), "not every byte");
  says(refused_model(small_model().trainer_number(35, 1).piece("<0x4g>", 0, Model::kByte)), "must be <0x00> to <0xFF>");
  says(refused_model(small_model().trainer_number(3, 5)), "model_type is 5");
  says(refused_model(small_model().trainer_text(44, "\xff")), "no UTF-8 text");
  says(refused_model(small_model().raw(Model::bytes_field(4, std::string((1 << 20) + 1, '\0')))), "self_test_data");
  Model nested;
  nested.usual_symbols().piece("\xe2\x96\x81");
  for (std::size_t i = 1; i <= 33; ++i) nested.piece(std::string(i, 'x'), 0, Model::kUserDefined);
  says(refused_model(nested), "more than 32 user-defined symbols begin with each other");
  says(refused_model(Model(Model::kUnigram).usual_symbols()), "SentencePiece refuses it");  // by the library itself: there is nothing to encode with
}

TEST_CASE("tokenizer.model: tables of rules that lead out of themselves are refused") {
  const auto good = test::charsmap_of_letters_a(1, "a");
  const auto with_unit = [&](std::size_t at, std::uint32_t unit) {
    auto map = good;
    return map.replace(4 + 4 * at, 4, Model::little_endian(unit));
  };
  const std::size_t node = 2 ^ 'A';
  says(refused_charsmap("abc"), "table of rules has 0 bytes of 3");
  says(refused_charsmap(good.substr(0, 1028)), "table of rules has 1024 bytes of 1028");
  says(refused_charsmap(Model::little_endian(1000) + good.substr(4)), "table of rules has 1000 bytes");
  says(refused_charsmap(Model::little_endian(0xfffffc00U) + good.substr(4)), "table of rules has 4294966272 bytes");
  says(refused_charsmap(with_unit(0, 256U << 10U)), "leads out of itself");
  says(refused_charsmap(with_unit(node, (0x1fffffU << 10U) | 0x100U | 'A')), "leads out of itself");
  says(refused_charsmap(with_unit(4, 0x80000005U)), "outside of its texts");
  says(refused_charsmap(good.substr(0, good.size() - 1)), "does not end");
  says(refused_charsmap(good.substr(0, 1028) + "\xff" + std::string(1, '\0')), "no UTF-8");
  says(refused_charsmap(with_unit(node, ((node ^ 2U) << 10U) | 0x100U | 'A')), "in a circle");  // A leads to where A leads from
  says(refused_charsmap(test::charsmap_of_letters_a(33, "a")), "more than 32 of its rules");
  says(refused_charsmap(test::charsmap_of_letters_a(1, std::string(257, 'a'))), "at most 256");
  says(refused_model(small_model().raw(Model::bytes_field(5, Model::bytes_field(2, "abc")))), "denormalizer_spec: its table");
  CHECK(load(small_model().charsmap(test::charsmap_of_letters_a(32, "a"))));
}

TEST_CASE("tokenizer.model: found in its folder, behind tokenizer.json and before chars.json, and saved as it was read") {
  const TempDir dir, other;
  dir.write("tokenizer.model", small_model().bytes());
  dir.write("chars.json", "not looked at");
  const auto loaded = Tokenizer::load(dir.path().string());
  REQUIRE_MESSAGE(loaded, loaded.error().message);
  CHECK((*loaded)->encode("ab", SpecialText::plain_text).value() == Tokens{10});
  REQUIRE((*loaded)->save(other.path()));
  CHECK(testing::read_file(other.path() / "tokenizer.model") == small_model().bytes());
  CHECK(Tokenizer::load(other.path().string()).value()->fingerprint() == (*loaded)->fingerprint());
  const auto named = Tokenizer::load(dir.write("spm.model", small_model().bytes()).string());
  REQUIRE_MESSAGE(named, named.error().message);
  dir.write("tokenizer.json", "{");
  CHECK(Tokenizer::load(dir.path().string()).error().message.find("tokenizer.json") != std::string::npos);
}

TEST_CASE("tokenizer.model: fingerprints are of what makes ids and texts") {
  const auto print = [](const Model& model) { return load(model)->fingerprint(); };
  const auto small = print(small_model());
  CHECK(small == print(small_model().trainer_text(1, "/home/somebody/corpus.txt").normalizer_number(3, 1)));  // training, and a default that is said
  CHECK(small != print(small_model().piece("c", -3)));
  CHECK(small != print(small_model().normalizer_number(3, 0)));
  CHECK(small != print(small_model().charsmap(test::charsmap_of_letters_a(1, "a"))));
  CHECK(small != print(small_model().trainer_number(3, Model::kUnigram)));
  CHECK(small != print(small_model().trainer_text(44, "?")));
  CHECK(print(small_model().piece("c", -3)) != print(small_model().piece("c", -4)));
  CHECK(print(small_model().piece("c", -3)) != print(small_model().piece("c", -3, Model::kUserDefined)));
}

TEST_CASE("tokenizer.model: one model serves several threads") {
  const auto t = load(small_model().charsmap(test::charsmap_of_letters_a(2, "a")));
  std::string text;
  for (std::size_t i = 0; i < 200; ++i) text += std::array{"a", "b", "A", " ", "x"}[i * i % 7 % 5];
  const auto expected = plain(t, text);
  const auto expected_text = t->decode(expected).value();
  std::atomic<int> wrong{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) {
        if (t->encode(text, SpecialText::plain_text).value() != expected || t->decode(expected).value() != expected_text) ++wrong;
      }
    });
  }
  threads.clear();
  CHECK(wrong == 0);
}

TEST_CASE("tokenizer.model: the library's names are nobody else's") {
  const auto t = load(small_model());
  // Its copy of protocol buffers would take the place of libtorch's.
  for (const char* name : {"_ZN13sentencepiece22SentencePieceProcessorC1Ev", "_ZNK6google8protobuf11MessageLite17SerializeAsStringB5cxx11Ev"}) CHECK(::dlsym(RTLD_DEFAULT, name) == nullptr);
}
