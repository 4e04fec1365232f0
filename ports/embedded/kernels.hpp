#pragma once
// The arithmetic of a decoder beside its matrix products: plain loops over rows.
//
// Promises, on which batch invariance rests: a row's result is a function of that row alone, whatever rows stand beside
// it and wherever it lies in memory; sums over rows run in row order. No kernel allocates, starts a thread or fails.
// Arrays are row-major and contiguous unless a stride is given; outputs do not overlap inputs except where said.
// float is what runs; double exists so that gradients can be checked against finite differences.
#include <cstddef>
#include <cstdint>

namespace pipestill::embedded::kernels {

/// RMSNorm (Zhang and Sennrich, arXiv 1910.07467): y = x * w / sqrt(mean(x^2) + eps). x, y: [n, d]; w: [d].
/// scale: [n], the reciprocal roots, for the backward pass; may be null. y may be x.
void rms_norm_forward(const float* x, const float* w, float* y, float* scale, std::int64_t n, int d, float eps);
void rms_norm_forward(const double* x, const double* w, double* y, double* scale, std::int64_t n, int d, double eps);
/// Writes dx and adds to dw: [d].
void rms_norm_backward(const float* x, const float* w, const float* scale, const float* dy, float* dx, float* dw, std::int64_t n, int d);
void rms_norm_backward(const double* x, const double* w, const double* scale, const double* dy, double* dx, double* dw, std::int64_t n,
                       int d);

/// SwiGLU (Shazeer, arXiv 2002.05202): y = g * sigmoid(g) * u, with [g, u] the halves of a row of gate_up: [n, 2 f]. y: [n, f].
void swiglu_forward(const float* gate_up, float* y, std::int64_t n, int f);
void swiglu_forward(const double* gate_up, double* y, std::int64_t n, int f);
void swiglu_backward(const float* gate_up, const float* dy, float* d_gate_up, std::int64_t n, int f);
void swiglu_backward(const double* gate_up, const double* dy, double* d_gate_up, std::int64_t n, int f);

/// Rotary embedding in the "rotate half" convention of Hugging Face: the pairs are (x[j], x[j + half]), j < half.
/// `sign` -1 turns back. y may be x.
void rotate(const float* x, float* y, const float* cosine, const float* sine, int half, float sign);
void rotate(const double* x, double* y, const double* cosine, const double* sine, int half, double sign);

/// Keys are attended in groups of eight: rows of transposed keys, and probabilities, have this many elements of storage.
[[nodiscard]] constexpr int padded_keys(int keys) { return (keys + 7) & ~7; }

/// One query of one head over `keys` keys: p = softmax(scale * q k^T), o = p v.
/// q, o: [head_dim]. keys_t: [head_dim, ldk], transposed, readable to padded_keys(keys). v: [keys, ldv].
/// p: padded_keys(keys) elements, written; those past `keys` become 0. o may be null: the probabilities alone.
void attend(const float* q, const float* keys_t, std::ptrdiff_t ldk, const float* v, std::ptrdiff_t ldv, int keys, int head_dim,
            float scale, float* p, float* o);
void attend(const double* q, const double* keys_t, std::ptrdiff_t ldk, const double* v, std::ptrdiff_t ldv, int keys, int head_dim,
            double scale, double* p, double* o);

/// Its gradient. p as attend() left it; k: [keys, head_dim]; values_t: [head_dim, ldk], as keys_t; d_o: [head_dim].
/// Writes dq: [head_dim]; adds to dk: [keys, head_dim] and dv: [keys, lddv]. `work`: padded_keys(keys) elements.
void attend_backward(const float* q, const float* k, const float* values_t, std::ptrdiff_t ldk, const float* p, const float* d_o, int keys,
                     int head_dim, float scale, float* work, float* dq, float* dk, float* dv, std::ptrdiff_t lddv);
void attend_backward(const double* q, const double* k, const double* values_t, std::ptrdiff_t ldk, const double* p, const double* d_o,
                     int keys, int head_dim, double scale, double* work, double* dq, double* dk, double* dv, std::ptrdiff_t lddv);

/// What a softmax over one row of logits needs: log(sum(exp(z))) = maximum + log(total).
struct LogNormaliser {
  double maximum = 0, total = 0;
  [[nodiscard]] double value() const;
};
/// Writes e = exp((z - max) * inverse_temperature): [n]; the sum is in double. At inverse_temperature 1 the result is
/// the one that both the sampler's log-probabilities and the training loss are made from.
LogNormaliser exponentials(const float* z, float* e, int n, float inverse_temperature);
LogNormaliser exponentials(const double* z, double* e, int n, double inverse_temperature);

/// y[j] = a * x[j]; y may be x.
void scale(const float* x, float a, float* y, int n);
void scale(const double* x, double a, double* y, int n);
/// y[j] += x[j].
void add(const float* x, float* y, int n);
void add(const double* x, double* y, int n);

/// Sum of squares in double.
double sum_of_squares(const float* x, std::int64_t n);
double sum_of_squares(const double* x, std::int64_t n);

/// One AdamW step over flat arrays, after the gradient is multiplied by gradient_scale.
template <class T>
struct AdamStep {
  T learning_rate, eps;
  T keep;                      ///< 1 - learning_rate * weight_decay; this and what follows rounded once, from double
  T beta1, beta2;
  T rest1, rest2;              ///< 1 - beta
  T correction1, correction2;  ///< 1 / (1 - beta^step)
  T gradient_scale;
};
void adamw(float* weights, const float* gradient, float* m, float* v, std::int64_t n, const AdamStep<float>& step);
void adamw(double* weights, const double* gradient, double* m, double* v, std::int64_t n, const AdamStep<double>& step);

}  // namespace pipestill::embedded::kernels
