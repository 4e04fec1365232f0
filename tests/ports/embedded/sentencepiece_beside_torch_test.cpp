// Part of two programs: one has libtorch in a module of its own, the other has linked it, and with it another protocol buffers than SentencePiece's.
#include <doctest/doctest.h>

#include "ports/tokenizer/sentencepiece_tokenizer.hpp"
#include "tests/support/sentencepiece_model.hpp"

using namespace pipestill;

TEST_CASE("a SentencePiece model works in one process with libtorch") {
  const auto bytes = test::SentencePieceModel().usual_symbols().piece("\xe2\x96\x81", -2).piece("a", -3).piece("\xe2\x96\x81" "a", -1).bytes();
  const auto tokenizer = SentencePieceTokenizer::parse(bytes, "tokenizer.model");
  REQUIRE_MESSAGE(tokenizer, tokenizer.error().message);
  CHECK((*tokenizer)->encode("a a", SpecialText::plain_text).value() == std::vector<Token>{5, 5});
  CHECK((*tokenizer)->decode(std::vector<Token>{1, 5, 4}).value() == "<s>aa");
  CHECK_FALSE(SentencePieceTokenizer::parse(bytes.substr(0, bytes.size() / 2), "tokenizer.model"));
}
