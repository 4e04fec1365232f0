#include "ports/checkpoint/answer_codec.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace pipestill {
namespace {

constexpr char kSampleTag = 1, kScoreTag = 2;
constexpr std::uint32_t kSign = 0x80000000U;

using Top = std::vector<std::pair<Token, float>>;

int bits_of(std::uint32_t value) { return static_cast<int>(std::bit_width(value)); }

class AnswerWriter {
 public:
  void byte(unsigned value) { out_.push_back(static_cast<char>(value)); }
  void varint(std::uint64_t value) {
    for (; value > 0x7f; value >>= 7) byte(0x80U | static_cast<unsigned>(value & 0x7f));
    byte(static_cast<unsigned>(value));
  }
  void real(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) byte(bits >> shift & 0xff);
  }
  void bits(std::uint32_t value, int count) {
    pending_ |= std::uint64_t{value} << filled_;
    filled_ += count;
    for (; filled_ >= 8; filled_ -= 8, pending_ >>= 8) byte(static_cast<unsigned>(pending_ & 0xff));
  }
  void end_bits() {
    if (filled_ > 0) byte(static_cast<unsigned>(pending_ & 0xff));
    pending_ = 0, filled_ = 0;
  }
  void logprobs(const std::vector<Logprob>& values) {
    varint(values.size());
    for (const auto& value : values) bits(value ? 1 : 0, 1);
    end_bits();
    for (const auto& value : values) {
      if (value) real(*value);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
  std::uint64_t pending_ = 0;
  int filled_ = 0;
};

/// After the first byte that is missing or wrong everything reads as 0, and is_sound() says so.
class AnswerReader {
 public:
  explicit AnswerReader(std::string_view bytes) : rest_(bytes) {}

  unsigned byte() {
    if (rest_.empty()) return spoil();
    const auto value = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto next = byte();
      value |= std::uint64_t{next & 0x7f} << shift;
      if (next < 0x80) return next == 0 && shift > 0 ? spoil() : value;  // one reading for each number
    }
    return spoil();
  }
  /// A number of things of which each takes at least so many bits.
  std::size_t count(std::uint64_t least_bits) {
    const auto value = varint();
    return value > rest_.size() * 8 / least_bits ? spoil() : static_cast<std::size_t>(value);
  }
  Token token() {
    const auto value = varint();
    return value > 0x7fffffff ? static_cast<Token>(spoil()) : static_cast<Token>(value);
  }
  float real() {
    std::uint32_t bits = 0;
    for (int shift = 0; shift < 32; shift += 8) bits |= std::uint32_t{byte()} << shift;
    return std::bit_cast<float>(bits);
  }
  std::uint32_t bits(int count) {
    while (filled_ < count) {
      pending_ |= std::uint64_t{byte()} << filled_;
      filled_ += 8;
    }
    const auto value = static_cast<std::uint32_t>(pending_ & ((std::uint64_t{1} << count) - 1));
    pending_ >>= count, filled_ -= count;
    return value;
  }
  void end_bits() {
    if (pending_ != 0) spoil();
    pending_ = 0, filled_ = 0;
  }
  std::vector<Logprob> logprobs() {
    std::vector<Logprob> values(count(1));
    for (auto& value : values) {
      if (bits(1)) value = 0.0f;
    }
    end_bits();
    for (auto& value : values) {
      if (value) value = real();
    }
    return values;
  }
  [[nodiscard]] bool is_sound() const { return is_sound_; }
  [[nodiscard]] bool is_whole() const { return is_sound_ && rest_.empty(); }
  unsigned spoil() {
    is_sound_ = false;
    rest_ = {};
    return 0;
  }

 private:
  std::string_view rest_;
  std::uint64_t pending_ = 0;
  int filled_ = 0;
  bool is_sound_ = true;
};

/// The floats without their signs, if they are all at most -0.0 and grow so.
std::optional<std::vector<std::uint32_t>> growing_magnitudes(const Top& top) {
  std::vector<std::uint32_t> magnitudes;
  magnitudes.reserve(top.size());
  for (const auto& [token, logprob] : top) {
    const auto bits = std::bit_cast<std::uint32_t>(logprob);
    if ((bits & kSign) == 0 || token < 0) return std::nullopt;
    magnitudes.push_back(bits & ~kSign);
    if (magnitudes.size() > 2 && magnitudes.back() < magnitudes[magnitudes.size() - 2]) return std::nullopt;
  }
  return magnitudes;
}

void write_top(AnswerWriter& out, const Top& top) {
  out.varint(top.size());
  if (top.empty()) return;
  const auto magnitudes = growing_magnitudes(top);
  if (!magnitudes) {
    out.byte(0);
    for (const auto& [token, logprob] : top) {
      out.varint(static_cast<std::uint32_t>(token));
      out.real(logprob);
    }
    return;
  }
  int width = 0, token_bits = 1;  // a bit at least, so that the number of entries is bounded by the bytes
  for (std::size_t i = 2; i < top.size(); ++i) width = std::max(width, bits_of((*magnitudes)[i] - (*magnitudes)[i - 1]));
  for (const auto& [token, logprob] : top) token_bits = std::max(token_bits, bits_of(static_cast<std::uint32_t>(token)));
  out.byte(static_cast<unsigned>(width + 1));
  out.byte(static_cast<unsigned>(token_bits));
  for (const auto& [token, logprob] : top) out.bits(static_cast<std::uint32_t>(token), token_bits);
  for (std::size_t i = 0; i < top.size(); ++i) {
    if (i < 2) out.bits((*magnitudes)[i], 31);
    else out.bits((*magnitudes)[i] - (*magnitudes)[i - 1], width);
  }
  out.end_bits();
}

Top read_top(AnswerReader& in) {
  Top top(in.count(1));
  if (top.empty()) return top;
  const int kind = static_cast<int>(in.byte());
  if (kind == 0) {
    for (auto& [token, logprob] : top) {
      token = in.token();
      logprob = in.real();
    }
    return top;
  }
  const int width = kind - 1, token_bits = static_cast<int>(in.byte());
  if (width > 31 || token_bits < 1 || token_bits > 31) return in.spoil(), Top();
  for (auto& entry : top) entry.first = static_cast<Token>(in.bits(token_bits));
  std::uint32_t magnitude = 0;
  for (std::size_t i = 0; i < top.size(); ++i) {
    magnitude = i < 2 ? in.bits(31) : magnitude + in.bits(width);
    top[i].second = std::bit_cast<float>(magnitude | kSign);
  }
  in.end_bits();
  return top;
}

tl::unexpected<Error> no_answer(const char* what) { return fail(ErrorCode::invalid_input, std::string("these bytes are no ") + what); }

}  // namespace

std::string encode_answer(const SampledSequence& answer) {
  AnswerWriter out;
  out.byte(kSampleTag);
  out.byte(answer.stop_reason == StopReason::stop ? 0 : 1);
  out.varint(answer.tokens.size());
  for (const auto token : answer.tokens) out.varint(static_cast<std::uint32_t>(token));
  out.logprobs(answer.logprobs);
  return out.take();
}

std::string encode_answer(const Score& answer) {
  AnswerWriter out;
  out.byte(kScoreTag);
  out.logprobs(answer.own);
  out.varint(answer.top.size());
  for (const auto& top : answer.top) write_top(out, top);
  return out.take();
}

Result<SampledSequence> decode_sample(std::string_view bytes) {
  AnswerReader in(bytes);
  SampledSequence answer;
  const auto tag = in.byte(), reason = in.byte();
  answer.stop_reason = reason == 0 ? StopReason::stop : StopReason::length;
  answer.tokens.resize(in.count(8));
  for (auto& token : answer.tokens) token = in.token();
  answer.logprobs = in.logprobs();
  if (!in.is_whole() || tag != kSampleTag || reason > 1) return no_answer("sampled answer");
  return answer;
}

Result<Score> decode_score(std::string_view bytes) {
  AnswerReader in(bytes);
  Score answer;
  const auto tag = in.byte();
  answer.own = in.logprobs();
  answer.top.resize(in.count(8));
  for (auto& top : answer.top) {
    top = read_top(in);
    if (!in.is_sound()) break;
  }
  if (!in.is_whole() || tag != kScoreTag) return no_answer("score");
  return answer;
}

}  // namespace pipestill
