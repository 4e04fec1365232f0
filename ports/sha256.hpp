#pragma once
// SHA-256 (FIPS 180-4), computed by OpenSSL.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace pipestill {

using Sha256Digest = std::array<std::uint8_t, 32>;

/// A running hash. One owner, one thread at a time. Throws std::runtime_error if OpenSSL has no SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  /// The bytes alone: borders between calls do not count.
  Sha256& update(std::string_view bytes);
  /// Eight bytes, least significant first.
  Sha256& number(std::uint64_t value);
  /// The length as a number, then the bytes: a sequence of fields has one reading only.
  Sha256& field(std::string_view bytes);
  /// Ends the hash; the object can only be destroyed or assigned to afterwards.
  [[nodiscard]] Sha256Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

[[nodiscard]] Sha256Digest sha256(std::string_view bytes);

/// A digest as bytes, to hash it in its turn.
[[nodiscard]] inline std::string_view digest_bytes(const Sha256Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

/// Lower case, two digits a byte.
[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace pipestill
