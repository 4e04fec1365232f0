#include "ports/embedded/student.hpp"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "ports/embedded/safetensors.hpp"

namespace pipestill::embedded {

Student::Student(Weights weights, int threads)
    : threads_(threads),
      weights_(std::move(weights)),
      rotary_(std::make_shared<RotaryTable<float>>(weights_.layout.config, weights_.layout.config.max_position_embeddings)),
      gradient_(weights_.flat.size()),
      optimizer_(weights_.flat.size()),
      parameters_(weights_.layout, weights_.flat.data(), gradient_.data()) {}

Result<ForwardBackwardOutput> Student::loss(std::span<const Datum> datums, const Loss& loss, bool with_gradient) {
  if (with_gradient && !has_gradient_) std::fill(gradient_.begin(), gradient_.end(), 0.0f);
  const bool was_spoiled = is_spoiled_;
  is_spoiled_ = is_spoiled_ || with_gradient;  // until all of it is there
  const auto batches = pack(datums, loss, config());
  if (!batches) return fail(batches.error());

  const at::AutoGradMode mode(with_gradient);
  double value = 0;
  std::size_t positions = 0;
  for (const auto& batch : *batches) {
    const Pass<float> pass{weights_.layout, *rotary_, batch, threads_};
    const auto sum = decoder_loss(parameters_, pass, value);
    if (!std::isfinite(sum.value)) {
      return fail(ErrorCode::backend_failed,
                  "the loss is not finite: training has diverged, and a lower learning rate or clipping may help");
    }
    if (with_gradient) torch::autograd::backward({sum.differentiable}, {});
    value = sum.value;
    positions += batch.positions.size();
  }
  if (with_gradient) {
    has_gradient_ = true;
    is_spoiled_ = was_spoiled;
  }
  ForwardBackwardOutput out;
  out.metrics["loss"] = value;
  out.metrics["num_tokens"] = static_cast<double>(positions);
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
  const auto norm = optimizer_.step(weights_.flat, gradient_, params, threads_);
  if (!norm) return fail(norm.error());
  OptimStepOutput out;
  out.metrics["grad_norm"] = *norm;
  return out;
}

Model Student::snapshot() const { return {std::make_shared<const Weights>(weights_), rotary_}; }

std::string Student::digest() const { return weights_digest(tensor_views(weights_.layout, weights_.flat)); }

Result<void> StudentState::save(const std::filesystem::path& directory) const {
  if (auto done = save_weights(weights, directory); !done) return done;
  auto moments = tensor_views(weights.layout, optimizer.m, "m.");
  for (auto& view : tensor_views(weights.layout, optimizer.v, "v.")) moments.push_back(std::move(view));
  return write_safetensors(directory / "optimizer.safetensors", moments, {{"step", std::to_string(optimizer.steps)}});
}

Result<Model> Student::load_snapshot(const std::filesystem::path& directory) const {
  auto weights = load_weights_of_this_model(directory);
  if (!weights) return fail(std::move(weights.error()));
  return Model{std::make_shared<const Weights>(*std::move(weights)), rotary_};
}

Result<Weights> Student::load_weights_of_this_model(const std::filesystem::path& directory) const {
  auto weights = load_weights(directory);
  if (weights && weights->layout.config != config()) {
    return fail(ErrorCode::invalid_input, "the state in " + directory.string() + " belongs to a model with another config.json");
  }
  return weights;
}

Result<void> Student::load_state(const std::filesystem::path& directory) {
  auto weights = load_weights_of_this_model(directory);
  if (!weights) return fail(std::move(weights.error()));
  auto file = SafetensorsFile::open(directory / "optimizer.safetensors");
  if (!file) return fail(std::move(file.error()));
  AdamW<float> optimizer(weights_.flat.size());
  if (auto done = read_tensors(*file, weights_.layout, optimizer.m, "m."); !done) return done;
  if (auto done = read_tensors(*file, weights_.layout, optimizer.v, "v."); !done) return done;
  const auto noted = file->metadata().find("step");
  const auto text = noted == file->metadata().end() ? std::string_view() : std::string_view(noted->second);
  if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), optimizer.steps);
      text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::invalid_input, file->path().string() + " has no \"step\" in its metadata");
  }
  // In place: the autograd leaves look at these arrays.
  std::copy(weights->flat.begin(), weights->flat.end(), weights_.flat.begin());
  optimizer_ = std::move(optimizer);
  forget_gradient();
  return {};
}

}  // namespace pipestill::embedded
