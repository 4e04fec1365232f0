#include "ports/embedded/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ports/embedded/simd.hpp"

namespace pipestill::embedded::kernels {
namespace {

using simd::for_lanes;
using simd::load;
using simd::splat;
using simd::store;
using simd::Vector;

// The bodies. Each public function below instantiates one of them inside a multi-versioned wrapper.

template <class T>
PIPESTILL_INLINE void rms_norm_forward_body(const T* x, const T* w, T* y, T* scale, std::int64_t n, int d, T eps) {
  for (std::int64_t i = 0; i < n; ++i, x += d, y += d) {
    Vector<T> squares{};
    for_lanes(d, [&](int j, auto k) PIPESTILL_LAMBDA {
      const auto v = load(x + j, k);
      squares += v * v;
    });
    const T r = T(1) / std::sqrt(simd::sum(squares) / static_cast<T>(d) + eps);
    if (scale) scale[i] = r;
    for_lanes(d, [&](int j, auto k) PIPESTILL_LAMBDA { store(y + j, load(x + j, k) * r * load(w + j, k), k); });
  }
}

template <class T>
PIPESTILL_INLINE void rms_norm_backward_body(const T* x, const T* w, const T* scale, const T* dy, T* dx, T* dw, std::int64_t n, int d) {
  for (std::int64_t i = 0; i < n; ++i, x += d, dy += d, dx += d) {
    const T r = scale[i];
    Vector<T> products{};
    for_lanes(d, [&](int j, auto k) PIPESTILL_LAMBDA { products += load(dy + j, k) * load(w + j, k) * load(x + j, k); });
    const T c = simd::sum(products) * r * r * r / static_cast<T>(d);
    for_lanes(d, [&](int j, auto k) PIPESTILL_LAMBDA {
      const auto g = load(dy + j, k), v = load(x + j, k);
      store(dx + j, g * load(w + j, k) * r - v * c, k);
      store(dw + j, load(dw + j, k) + g * v * r, k);
    });
  }
}

template <class T>
PIPESTILL_INLINE void swiglu_forward_body(const T* gate_up, T* y, std::int64_t n, int f) {
  for (std::int64_t i = 0; i < n; ++i, gate_up += 2 * f, y += f) {
    for_lanes(f, [&](int j, auto k) PIPESTILL_LAMBDA {
      const auto g = load(gate_up + j, k);
      store(y + j, g / (T(1) + simd::exp(-g)) * load(gate_up + f + j, k), k);
    });
  }
}

template <class T>
PIPESTILL_INLINE void swiglu_backward_body(const T* gate_up, const T* dy, T* d_gate_up, std::int64_t n, int f) {
  for (std::int64_t i = 0; i < n; ++i, gate_up += 2 * f, d_gate_up += 2 * f, dy += f) {
    for_lanes(f, [&](int j, auto k) PIPESTILL_LAMBDA {
      const auto g = load(gate_up + j, k), u = load(gate_up + f + j, k), o = load(dy + j, k);
      const auto sigmoid = T(1) / (T(1) + simd::exp(-g));
      const auto silu = g * sigmoid;
      store(d_gate_up + f + j, o * silu, k);
      store(d_gate_up + j, o * u * (sigmoid + silu * (T(1) - sigmoid)), k);
    });
  }
}

template <class T>
PIPESTILL_INLINE void rotate_body(const T* x, T* y, const T* cosine, const T* sine, int half, T sign) {
  for_lanes(half, [&](int j, auto k) PIPESTILL_LAMBDA {
    const auto a = load(x + j, k), b = load(x + half + j, k), c = load(cosine + j, k), s = load(sine + j, k) * sign;
    store(y + j, a * c - b * s, k);
    store(y + half + j, b * c + a * s, k);
  });
}

/// out[u] = scale * sum_j row[j] * columns[j, u] over `Groups` groups of eight columns, held in registers.
template <int Groups, class T>
PIPESTILL_INLINE void columns_dot(const T* row, const T* columns, std::ptrdiff_t ld, int n, T scale, T* out) {
  Vector<T> sums[Groups] = {};
  for (int j = 0; j < n; ++j, columns += ld) {
    const T x = row[j] * scale;
    for (int g = 0; g < Groups; ++g) sums[g] += x * load(columns + g * simd::kLanes, simd::All{});
  }
  for (int g = 0; g < Groups; ++g) store(out + g * simd::kLanes, sums[g], simd::All{});
}

/// The same for padded_keys(keys) columns. A column's sum does not depend on the group it falls in.
template <class T>
PIPESTILL_INLINE void all_columns_dot(const T* row, const T* columns, std::ptrdiff_t ld, int n, int keys, T scale, T* out) {
  const int padded = padded_keys(keys);
  int u = 0;
  for (; u + 32 <= padded; u += 32) columns_dot<4>(row, columns + u, ld, n, scale, out + u);
  for (; u + 16 <= padded; u += 16) columns_dot<2>(row, columns + u, ld, n, scale, out + u);
  for (; u < padded; u += 8) columns_dot<1>(row, columns + u, ld, n, scale, out + u);
}

/// out[j..] = sum_u p[u] * rows[u, j..]
template <int Groups, class T>
PIPESTILL_INLINE void rows_sum(const T* p, const T* rows, std::ptrdiff_t ld, int n, T* out) {
  Vector<T> sums[Groups] = {};
  for (int u = 0; u < n; ++u, rows += ld) {
    for (int g = 0; g < Groups; ++g) sums[g] += p[u] * load(rows + g * simd::kLanes, simd::All{});
  }
  for (int g = 0; g < Groups; ++g) store(out + g * simd::kLanes, sums[g], simd::All{});
}
template <class T>
PIPESTILL_INLINE void all_rows_sum(const T* p, const T* rows, std::ptrdiff_t ld, int n, int width, T* out) {
  int j = 0;
  for (; j + 32 <= width; j += 32) rows_sum<4>(p, rows + j, ld, n, out + j);
  for (; j + 8 <= width; j += 8) rows_sum<1>(p, rows + j, ld, n, out + j);
  for (; j < width; ++j) {
    T s = 0;
    for (int u = 0; u < n; ++u) s += p[u] * rows[u * ld + j];
    out[j] = s;
  }
}

template <class T>
PIPESTILL_INLINE void attend_body(const T* q, const T* keys_t, std::ptrdiff_t ldk, const T* v, std::ptrdiff_t ldv, int keys, int head_dim,
                                  T scale, T* p, T* o) {
  all_columns_dot(q, keys_t, ldk, head_dim, keys, scale, p);
  const int padded = padded_keys(keys);
  T maximum = p[0];
  for (int u = 1; u < keys; ++u) maximum = p[u] > maximum ? p[u] : maximum;
  for (int u = keys; u < padded; ++u) p[u] = maximum;
  Vector<T> sums{};
  for (int u = 0; u < padded; u += simd::kLanes) {
    auto e = simd::exp(load(p + u, simd::All{}) - maximum);
    for (int l = std::max(0, keys - u); l < simd::kLanes; ++l) e[l] = 0;
    sums += e;
    store(p + u, e, simd::All{});
  }
  const T inverse = T(1) / simd::sum(sums);
  for (int u = 0; u < padded; u += simd::kLanes) store(p + u, load(p + u, simd::All{}) * inverse, simd::All{});
  if (o) all_rows_sum(p, v, ldv, keys, head_dim, o);
}

template <class T>
PIPESTILL_INLINE void attend_backward_body(const T* q, const T* k, const T* values_t, std::ptrdiff_t ldk, const T* p, const T* d_o,
                                           int keys, int head_dim, T scale, T* work, T* dq, T* dk, T* dv, std::ptrdiff_t lddv) {
  all_columns_dot(d_o, values_t, ldk, head_dim, keys, T(1), work);
  const int padded = padded_keys(keys);
  for (int u = keys; u < padded; ++u) work[u] = 0;
  Vector<T> products{};
  for (int u = 0; u < padded; u += simd::kLanes) products += load(work + u, simd::All{}) * load(p + u, simd::All{});
  const T mean = simd::sum(products);
  for (int u = 0; u < padded; u += simd::kLanes) {
    store(work + u, load(p + u, simd::All{}) * (load(work + u, simd::All{}) - mean) * scale, simd::All{});
  }
  all_rows_sum(work, k, head_dim, keys, head_dim, dq);
  for (int u = 0; u < keys; ++u, dk += head_dim, dv += lddv) {
    const T s = work[u], w = p[u];
    for_lanes(head_dim, [&](int j, auto c) PIPESTILL_LAMBDA {
      store(dk + j, load(dk + j, c) + s * load(q + j, c), c);
      store(dv + j, load(dv + j, c) + w * load(d_o + j, c), c);
    });
  }
}

template <class T>
PIPESTILL_INLINE LogNormaliser exponentials_body(const T* z, T* e, int n, T inverse_temperature) {
  T maximum = z[0];
  for (int j = 1; j < n; ++j) maximum = z[j] > maximum ? z[j] : maximum;
  simd::Double8 sums{};
  for_lanes(n, [&](int j, auto k) PIPESTILL_LAMBDA {
    auto v = simd::exp((load(z + j, k) - maximum) * inverse_temperature);
    for (int l = k; l < simd::kLanes; ++l) v[l] = 0;
    sums += simd::widen(v);
    store(e + j, v, k);
  });
  return {static_cast<double>(maximum), simd::sum(sums)};
}

template <class T>
PIPESTILL_INLINE double sum_of_squares_body(const T* x, std::int64_t n) {
  simd::Double8 sums{};
  std::int64_t i = 0;
  for (; i + simd::kLanes <= n; i += simd::kLanes) {
    const auto v = simd::widen(load(x + i, simd::All{}));
    sums += v * v;
  }
  double total = simd::sum(sums);
  for (; i < n; ++i) total += static_cast<double>(x[i]) * x[i];
  return total;
}

template <class T>
PIPESTILL_INLINE void adamw_body(T* weights, const T* gradient, T* m, T* v, std::int64_t n, const AdamStep<T>& step) {
  const AdamStep<T> s = step;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {  // no sums here: every element is on its own
    const T g = gradient[i] * s.gradient_scale;
    m[i] = s.beta1 * m[i] + s.rest1 * g;
    v[i] = s.beta2 * v[i] + s.rest2 * g * g;
    weights[i] = weights[i] * s.keep - s.learning_rate * (m[i] * s.correction1) / (std::sqrt(v[i] * s.correction2) + s.eps);
  }
}

template <class T>
PIPESTILL_INLINE void scale_body(const T* x, T a, T* y, int n) {
  for_lanes(n, [&](int j, auto k) PIPESTILL_LAMBDA { store(y + j, load(x + j, k) * a, k); });
}
template <class T>
PIPESTILL_INLINE void add_body(const T* x, T* y, int n) {
  for_lanes(n, [&](int j, auto k) PIPESTILL_LAMBDA { store(y + j, load(y + j, k) + load(x + j, k), k); });
}

}  // namespace

double LogNormaliser::value() const { return maximum + std::log(total); }

PIPESTILL_KERNEL void rms_norm_forward(const float* x, const float* w, float* y, float* s, std::int64_t n, int d, float eps) {
  rms_norm_forward_body(x, w, y, s, n, d, eps);
}
PIPESTILL_KERNEL void rms_norm_backward(const float* x, const float* w, const float* s, const float* dy, float* dx, float* dw,
                                        std::int64_t n, int d) {
  rms_norm_backward_body(x, w, s, dy, dx, dw, n, d);
}
PIPESTILL_KERNEL void swiglu_forward(const float* gate_up, float* y, std::int64_t n, int f) { swiglu_forward_body(gate_up, y, n, f); }
PIPESTILL_KERNEL void swiglu_backward(const float* gate_up, const float* dy, float* d_gate_up, std::int64_t n, int f) {
  swiglu_backward_body(gate_up, dy, d_gate_up, n, f);
}
PIPESTILL_KERNEL void rotate(const float* x, float* y, const float* cosine, const float* sine, int half, float sign) {
  rotate_body(x, y, cosine, sine, half, sign);
}
PIPESTILL_KERNEL void attend(const float* q, const float* keys_t, std::ptrdiff_t ldk, const float* v, std::ptrdiff_t ldv, int keys,
                             int head_dim, float s, float* p, float* o) {
  attend_body(q, keys_t, ldk, v, ldv, keys, head_dim, s, p, o);
}
PIPESTILL_KERNEL void attend_backward(const float* q, const float* k, const float* values_t, std::ptrdiff_t ldk, const float* p,
                                      const float* d_o, int keys, int head_dim, float s, float* work, float* dq, float* dk, float* dv,
                                      std::ptrdiff_t lddv) {
  attend_backward_body(q, k, values_t, ldk, p, d_o, keys, head_dim, s, work, dq, dk, dv, lddv);
}
PIPESTILL_KERNEL LogNormaliser exponentials(const float* z, float* e, int n, float inverse_temperature) {
  return exponentials_body(z, e, n, inverse_temperature);
}
PIPESTILL_KERNEL void scale(const float* x, float a, float* y, int n) { scale_body(x, a, y, n); }
PIPESTILL_KERNEL void add(const float* x, float* y, int n) { add_body(x, y, n); }
PIPESTILL_KERNEL double sum_of_squares(const float* x, std::int64_t n) { return sum_of_squares_body(x, n); }
PIPESTILL_KERNEL void adamw(float* weights, const float* gradient, float* m, float* v, std::int64_t n, const AdamStep<float>& step) {
  adamw_body(weights, gradient, m, v, n, step);
}

// Double runs in tests alone: one version will do.
void rms_norm_forward(const double* x, const double* w, double* y, double* s, std::int64_t n, int d, double eps) {
  rms_norm_forward_body(x, w, y, s, n, d, eps);
}
void rms_norm_backward(const double* x, const double* w, const double* s, const double* dy, double* dx, double* dw, std::int64_t n, int d) {
  rms_norm_backward_body(x, w, s, dy, dx, dw, n, d);
}
void swiglu_forward(const double* gate_up, double* y, std::int64_t n, int f) { swiglu_forward_body(gate_up, y, n, f); }
void swiglu_backward(const double* gate_up, const double* dy, double* d_gate_up, std::int64_t n, int f) {
  swiglu_backward_body(gate_up, dy, d_gate_up, n, f);
}
void rotate(const double* x, double* y, const double* cosine, const double* sine, int half, double sign) {
  rotate_body(x, y, cosine, sine, half, sign);
}
void attend(const double* q, const double* keys_t, std::ptrdiff_t ldk, const double* v, std::ptrdiff_t ldv, int keys, int head_dim,
            double s, double* p, double* o) {
  attend_body(q, keys_t, ldk, v, ldv, keys, head_dim, s, p, o);
}
void attend_backward(const double* q, const double* k, const double* values_t, std::ptrdiff_t ldk, const double* p, const double* d_o,
                     int keys, int head_dim, double s, double* work, double* dq, double* dk, double* dv, std::ptrdiff_t lddv) {
  attend_backward_body(q, k, values_t, ldk, p, d_o, keys, head_dim, s, work, dq, dk, dv, lddv);
}
LogNormaliser exponentials(const double* z, double* e, int n, double inverse_temperature) {
  return exponentials_body(z, e, n, inverse_temperature);
}
void scale(const double* x, double a, double* y, int n) { scale_body(x, a, y, n); }
void add(const double* x, double* y, int n) { add_body(x, y, n); }
double sum_of_squares(const double* x, std::int64_t n) { return sum_of_squares_body(x, n); }
void adamw(double* weights, const double* gradient, double* m, double* v, std::int64_t n, const AdamStep<double>& step) {
  adamw_body(weights, gradient, m, v, n, step);
}

}  // namespace pipestill::embedded::kernels
