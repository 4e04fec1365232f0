#pragma once
// Answers as bytes: what the answer store keeps of a model's answer, exactly.
#include <string>
#include <string_view>

#include "graph/base/error.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// A varint is LEB128: 7 bits a byte, the low ones first, the high bit set where more follow. A float is its 32 bits, least significant byte first.
///
/// SampledSequence: the byte 1; 0 (stop) or 1 (length); the number of tokens and each token, varints; then its logprobs.
/// Logprobs: their number, a varint; a bit each, least significant first, 0: missing; then the floats that are there.
/// Score: the byte 2; `own` as logprobs; the number of positions, a varint; then each position of `top`.
/// A position: the number K of entries, a varint, and nothing else if that is 0. A byte: 0 for plain, else w + 1. Plain: each entry's token as a varint, and
/// its float. Else the bits of a token (a byte, 1 to 31), and then a stream of bits, least significant first, filled up to a byte at its end: the K tokens, each
/// of so many bits; the first two floats, without their signs, 31 bits each; and the differences of each further one to the one before it, w bits each. A list
/// that is best first and has no float above -0.0 is of that kind, for its floats without their signs grow. So a list of K entries over a vocabulary of at most 2^18
/// tokens takes no more than 6 K + 16 bytes: 48 bits hold a token and any difference below 2^30, which all are but those behind a probability of 1.
[[nodiscard]] std::string encode_answer(const SampledSequence& answer);
[[nodiscard]] std::string encode_answer(const Score& answer);

/// The reverse. Untrusted bytes: what no encode_answer() wrote is ErrorCode::invalid_input; memory is bounded by the bytes' number.
[[nodiscard]] Result<SampledSequence> decode_sample(std::string_view bytes);
[[nodiscard]] Result<Score> decode_score(std::string_view bytes);

}  // namespace pipestill
