#include "ports/embedded/student.hpp"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include "ports/embedded/kernels.hpp"
#include "ports/embedded/parallel.hpp"
#include "ports/embedded/safetensors.hpp"

namespace pipestill::embedded {
namespace {

constexpr std::int64_t kFlatBlock = 1 << 14;  // elements of a flat array that make one part of a sum, or one thread's piece

double sum_of_squares(const std::vector<float>& x, int threads) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<double> parts(static_cast<std::size_t>((n + kFlatBlock - 1) / kFlatBlock));
  for_blocks(threads, n, kFlatBlock, [&](std::int64_t begin, std::int64_t end) {
    parts[static_cast<std::size_t>(begin / kFlatBlock)] = kernels::sum_of_squares(x.data() + begin, end - begin);
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

Result<void> check(const AdamParams& p) {
  const auto bad = [](const char* name, double value, const char* accepted) {
    return fail(ErrorCode::invalid_input, std::string(name) + " is " + std::to_string(value) + "; " + accepted + " is accepted");
  };
  if (!std::isfinite(p.learning_rate) || p.learning_rate < 0) return bad("learning_rate", p.learning_rate, "0 or a positive number");
  if (!(p.beta1 >= 0 && p.beta1 < 1)) return bad("beta1", p.beta1, "a number from 0 and below 1");
  if (!(p.beta2 >= 0 && p.beta2 < 1)) return bad("beta2", p.beta2, "a number from 0 and below 1");
  if (!(p.eps > 0) || std::isinf(p.eps)) return bad("eps", p.eps, "a positive number");
  if (!std::isfinite(p.weight_decay) || p.weight_decay < 0) return bad("weight_decay", p.weight_decay, "0 or a positive number");
  if (!std::isfinite(p.grad_clip_norm) || p.grad_clip_norm < 0) return bad("grad_clip_norm", p.grad_clip_norm, "0 or a positive number");
  return {};
}

}  // namespace

Student::Student(Weights weights, int threads)
    : threads_(threads),
      weights_(std::move(weights)),
      rotary_(std::make_shared<RotaryTable<float>>(weights_.layout.config, weights_.layout.config.max_position_embeddings)),
      gradient_(weights_.flat.size()),
      m_(weights_.flat.size()),
      v_(weights_.flat.size()),
      parameters_(weights_.layout, weights_.flat.data(), gradient_.data()) {}

Result<ForwardBackwardOutput> Student::loss(std::span<const Datum> datums, const Loss& loss, bool with_gradient) {
  if (with_gradient && !has_gradient_) std::fill(gradient_.begin(), gradient_.end(), 0.0f);
  const bool was_spoiled = is_spoiled_;
  is_spoiled_ = is_spoiled_ || with_gradient;  // until all of it is there
  auto batch = pack(datums, loss, config());
  if (!batch) return fail(std::move(batch.error()));

  const Pass<float> pass{weights_.layout, *rotary_, *batch, threads_};
  const at::AutoGradMode mode(with_gradient);
  const auto value = decoder_loss(parameters_, pass);
  if (!std::isfinite(value.value)) {
    return fail(ErrorCode::backend_failed, "the loss is not finite: training has diverged, and a lower learning rate or clipping may help");
  }
  if (with_gradient) {
    torch::autograd::backward({value.differentiable}, {});
    has_gradient_ = true;
    is_spoiled_ = was_spoiled;
  }
  ForwardBackwardOutput out;
  out.metrics["loss"] = value.value;
  out.metrics["num_tokens"] = static_cast<double>(batch->targets.size());
  return out;
}

void Student::forget_gradient() {
  has_gradient_ = is_spoiled_ = false;  // the numbers are cleared when the next gradient begins
}

Result<OptimStepOutput> Student::optim_step(const AdamParams& params) {
  const bool is_whole = has_gradient_ && !is_spoiled_, was_spoiled = is_spoiled_;
  forget_gradient();
  if (was_spoiled)
    return fail(ErrorCode::backend_failed, "the optimizer step was left out because a forward_backward before it failed or was cancelled");
  if (!is_whole) return fail(ErrorCode::invalid_input, "an optimizer step was asked for without a forward_backward before it");
  if (auto sound = check(params); !sound) return fail(std::move(sound.error()));
  const double norm = std::sqrt(sum_of_squares(gradient_, threads_));
  if (!std::isfinite(norm)) {
    return fail(ErrorCode::backend_failed,
                "the gradient is not finite: training has diverged, and a lower learning rate or clipping may help");
  }

  ++step_;
  const auto correction = [this](double beta) { return static_cast<float>(1 / (1 - std::pow(beta, static_cast<double>(step_)))); };
  const bool is_clipped = params.grad_clip_norm > 0 && norm > params.grad_clip_norm;
  const kernels::AdamStep step{.learning_rate = static_cast<float>(params.learning_rate),
                               .beta1 = static_cast<float>(params.beta1),
                               .beta2 = static_cast<float>(params.beta2),
                               .eps = static_cast<float>(params.eps),
                               .weight_decay = static_cast<float>(params.weight_decay),
                               .correction1 = correction(params.beta1),
                               .correction2 = correction(params.beta2),
                               .gradient_scale = is_clipped ? static_cast<float>(params.grad_clip_norm / norm) : 1.0f};
  for_blocks(threads_, static_cast<std::int64_t>(gradient_.size()), kFlatBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::adamw(weights_.flat.data() + begin, gradient_.data() + begin, m_.data() + begin, v_.data() + begin, end - begin, step);
  });
  OptimStepOutput out;
  out.metrics["grad_norm"] = norm;
  return out;
}

Model Student::snapshot() const { return {std::make_shared<const Weights>(weights_), rotary_}; }

std::string Student::digest() const { return weights_digest(tensor_views(weights_.layout, weights_.flat)); }

Result<void> Student::export_weights(const std::filesystem::path& directory) const {
  const auto config_text = to_json(config());
  const std::string_view piece = config_text;
  if (auto done = write_file_atomically(directory / "config.json", {&piece, 1}); !done) return done;
  return write_safetensors(directory / "model.safetensors", tensor_views(weights_.layout, weights_.flat), {{"format", "pt"}});
}

Result<void> Student::save_state(const std::filesystem::path& directory) const {
  std::error_code failed;
  if (!std::filesystem::create_directory(directory, failed)) {
    return fail(ErrorCode::backend_failed,
                "cannot create the directory " + directory.string() + ": " + (failed ? failed.message() : "it exists"));
  }
  auto done = export_weights(directory);
  if (done) {
    auto moments = tensor_views(weights_.layout, m_, "m.");
    for (auto& view : tensor_views(weights_.layout, v_, "v.")) moments.push_back(std::move(view));
    done = write_safetensors(directory / "optimizer.safetensors", moments, {{"step", std::to_string(step_)}});
  }
  if (!done) std::filesystem::remove_all(directory, failed);
  return done;
}

Result<void> Student::load_state(const std::filesystem::path& directory) {
  auto weights = load_weights(directory);
  if (!weights) return fail(std::move(weights.error()));
  if (weights->layout.config != config()) {
    return fail(ErrorCode::invalid_input, "the state in " + directory.string() + " belongs to a model with another config.json");
  }
  auto file = SafetensorsFile::open(directory / "optimizer.safetensors");
  if (!file) return fail(std::move(file.error()));
  std::vector<float> m(m_.size()), v(v_.size());
  if (auto done = read_tensors(*file, weights_.layout, m, "m."); !done) return done;
  if (auto done = read_tensors(*file, weights_.layout, v, "v."); !done) return done;
  const auto noted = file->metadata().find("step");
  std::uint64_t step = 0;
  const auto text = noted == file->metadata().end() ? std::string_view() : std::string_view(noted->second);
  if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
      text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::invalid_input, file->path().string() + " has no \"step\" in its metadata");
  }
  // In place: the autograd leaves look at these arrays.
  std::copy(weights->flat.begin(), weights->flat.end(), weights_.flat.begin());
  m_ = std::move(m);
  v_ = std::move(v);
  step_ = step;
  forget_gradient();
  return {};
}

}  // namespace pipestill::embedded
