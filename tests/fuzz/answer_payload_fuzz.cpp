// Answers as the answer store keeps them. What is accepted takes no more places than the input has bits, and survives being written and read.
#include <bit>
#include <string_view>

#include "ports/checkpoint/answer_codec.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

bool same_payload_float(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }

bool same_payload_logprobs(const std::vector<Logprob>& a, const std::vector<Logprob>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].has_value() != b[i].has_value() || (a[i] && !same_payload_float(*a[i], *b[i]))) return false;
  }
  return true;
}

bool same_payload(const SampledSequence& a, const SampledSequence& b) {
  return a.tokens == b.tokens && a.stop_reason == b.stop_reason && same_payload_logprobs(a.logprobs, b.logprobs);
}

bool same_payload(const Score& a, const Score& b) {
  if (a.top.size() != b.top.size() || !same_payload_logprobs(a.own, b.own)) return false;
  for (std::size_t i = 0; i < a.top.size(); ++i) {
    if (a.top[i].size() != b.top[i].size()) return false;
    for (std::size_t j = 0; j < a.top[i].size(); ++j) {
      if (a.top[i][j].first != b.top[i][j].first || !same_payload_float(a.top[i][j].second, b.top[i][j].second)) return false;
    }
  }
  return true;
}

std::size_t places_of(const SampledSequence& answer) { return answer.tokens.size() + answer.logprobs.size(); }

std::size_t places_of(const Score& answer) {
  std::size_t places = answer.own.size() + answer.top.size();
  for (const auto& top : answer.top) places += top.size();
  return places;
}

template <class Answer>
void check_payload(const Result<Answer>& answer, Result<Answer> (*decode)(std::string_view), std::size_t bytes) {
  if (!answer) return fuzz::require_sound_refusal(answer.error());
  require(places_of(*answer) <= 8 * bytes, "every place of an answer takes a bit of the input at least");
  const auto again = decode(encode_answer(*answer));
  require(again.has_value(), "an answer that was read is written so that it can be read");
  require(same_payload(*again, *answer), "an answer survives being written and read");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(answer_payload) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto sample = decode_sample(bytes);
  const auto score = decode_score(bytes);
  require(!sample || !score, "no payload is both a sample and a score");
  check_payload(sample, decode_sample, size);
  check_payload(score, decode_score, size);
  return 0;
}
