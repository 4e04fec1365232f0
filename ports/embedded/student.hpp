#pragma once
// A student's state and what changes it: weights, gradient, AdamW's moments. Single-threaded; trainer.hpp gives it a thread and a queue.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/embedded/adamw.hpp"
#include "ports/embedded/decoder_loss.hpp"
#include "ports/embedded/weights.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::embedded {

/// Weights and moments of one moment. An accumulated gradient is no part of it.
struct StudentState {
  Weights weights;
  AdamW<float> optimizer;

  /// What save_weights() writes, and optimizer.safetensors: tensors `m.<name>` and `v.<name>`, metadata `step`.
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const;
};

class Student {
 public:
  Student(Weights weights, int threads);

  /// The loss over `datums`, micro-batch by micro-batch; with `with_gradient` its gradient is added to what is accumulated. After an error
  /// nothing has changed, but that the next optim_step() fails if a gradient was wanted.
  [[nodiscard]] Result<ForwardBackwardOutput> loss(std::span<const Datum> datums, const Loss& loss, bool with_gradient);
  /// Makes the next optim_step() fail, as a forward_backward that was cancelled or failed must.
  void spoil_gradient() { is_spoiled_ = true; }
  /// The gradient is forgotten whatever comes out. Without one, or with one that is not whole or not finite, nothing else changes.
  [[nodiscard]] Result<OptimStepOutput> optim_step(const AdamParams& params);

  /// The weights of this moment, as a model of their own.
  [[nodiscard]] Model snapshot() const;
  [[nodiscard]] std::string digest() const;

  [[nodiscard]] const Weights& weights() const { return weights_; }
  [[nodiscard]] StudentState state() const { return {weights_, optimizer_}; }
  /// What StudentState::save() wrote; forgets the gradient. After an error nothing has changed.
  [[nodiscard]] Result<void> load_state(const std::filesystem::path& directory);
  /// What save_weights() wrote of an earlier moment, as a model of its own.
  [[nodiscard]] Result<Model> load_snapshot(const std::filesystem::path& directory) const;

  [[nodiscard]] const ModelConfig& config() const { return weights_.layout.config; }

 private:
  void forget_gradient();
  [[nodiscard]] Result<Weights> load_weights_of_this_model(const std::filesystem::path& directory) const;

  int threads_;
  Weights weights_;
  std::shared_ptr<const RotaryTable<float>> rotary_;
  std::vector<float> gradient_;  ///< laid out as the weights
  AdamW<float> optimizer_;
  bool has_gradient_ = false, is_spoiled_ = false;
  Parameters<float> parameters_;  ///< leaves over weights_ and gradient_
};

}  // namespace pipestill::embedded
