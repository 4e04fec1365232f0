#pragma once
// Eight lanes of float or double in GCC's vector extension, and the few operations that the kernels need.
//
// Everything is always_inline: a helper is compiled again inside each instruction-set clone of the kernel that uses it.
// Loops are written out in vectors rather than left to the vectoriser, because a compiler may peel a loop by the
// alignment of its pointer, and then the order of a sum, and so its bits, would depend on where a row happens to lie.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define PIPESTILL_INLINE inline __attribute__((always_inline))
/// On the lambdas in a kernel, which must vanish into it as well.
#define PIPESTILL_LAMBDA __attribute__((always_inline))
/// A kernel is built for AVX-512, for AVX2 with FMA, and for any x86-64; the loader picks one when the module is opened.
#define PIPESTILL_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

namespace pipestill::embedded::simd {

inline constexpr int kLanes = 8;
using All = std::integral_constant<int, kLanes>;

using Float8 = float __attribute__((vector_size(32)));
using Int8 = std::int32_t __attribute__((vector_size(32)));
using Double8 = double __attribute__((vector_size(64)));

template <class T>
using Vector = std::conditional_t<std::is_same_v<T, float>, Float8, Double8>;

template <class T>
PIPESTILL_INLINE Vector<T> splat(T x) {
  return Vector<T>{} + x;
}

// With All the compiler sees one vector move; with a number below eight, the tail of a row, the other lanes are zero.
template <class T, class Count>
PIPESTILL_INLINE Vector<T> load(const T* p, Count count) {
  Vector<T> v{};
  std::memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(T));
  return v;
}
template <class T, class Count>
PIPESTILL_INLINE void store(T* p, Vector<T> v, Count count) {
  std::memcpy(p, &v, static_cast<std::size_t>(count) * sizeof(T));
}

/// Calls f(first index, number of lanes) over 0..n-1.
template <class F>
PIPESTILL_INLINE void for_lanes(int n, F&& f) {
  int j = 0;
  for (; j + kLanes <= n; j += kLanes) f(j, All{});
  if (j < n) f(j, n - j);
}

/// The sum of the lanes, always in the same order.
template <class V>
PIPESTILL_INLINE auto sum(V v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

PIPESTILL_INLINE Double8 widen(Float8 v) { return __builtin_convertvector(v, Double8); }
PIPESTILL_INLINE Double8 widen(Double8 v) { return v; }

/// e^x. For float: x = n ln 2 + f with |f| <= ln 2 / 2 and the polynomial of Cephes' expf; relative error below 2e-7 on
/// [-87, 87], to which x is clamped. For double: the C library's.
PIPESTILL_INLINE Float8 exp(Float8 x) {
  const Float8 high = splat(87.0f), low = splat(-87.0f);
  x = x > high ? high : x;
  x = x < low ? low : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Float8 shifted = x * 1.44269504f + kRound;
  const Float8 n = shifted - kRound;
  const Float8 f = x - n * 0.693359375f + n * 2.12194440e-4f;
  Float8 p = splat(1.9875691500e-4f);
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  const Float8 y = p * f * f + f + 1.0f;
  const Int8 exponent = (reinterpret_cast<Int8>(shifted) + 127) << 23;
  return y * reinterpret_cast<Float8>(exponent);
}
PIPESTILL_INLINE Double8 exp(Double8 x) {
  for (int i = 0; i < kLanes; ++i) x[i] = std::exp(x[i]);
  return x;
}

}  // namespace pipestill::embedded::simd
