#pragma once
// The training port: a student that learns.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "graph/base/completion.hpp"
#include "graph/base/error.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// How token losses become one number. With w the weights of the batch's targets and l = -log q their losses:
/// token_mean: sum(w l) / sum(w). seq_mean: the mean over rows of each row's token_mean. sum: sum(w l).
/// Of soft targets (N, K) every entry is a target: a position counts with the sum of its weights, 1 for a distribution.
/// Sums run in a fixed order, so that no thread count changes a bit.
enum class Normalization { token_mean, seq_mean, sum };

/// What is minimised, and how its sums are rounded.
struct Loss {
  std::string name = "cross_entropy";
  Normalization normalization = Normalization::token_mean;
  /// 0: all rows at once. Else forward and backward run over so many rows at a time, which bounds the memory, and gradients are added in
  /// the order of the rows. The normalisation stays that of the whole batch, so that this changes the gradient's rounding and nothing
  /// else; of rows without a weight none counts. Equal values give equal bits.
  std::size_t micro_batch_rows = 0;
};

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) after clipping the gradient's global norm.
struct AdamParams {
  double learning_rate = 1e-4;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0;
  double grad_clip_norm = 0;  ///< 0: no clipping
};

/// Metrics by the names `loss` (the normalised loss) and `num_tokens` (positions with a weight other than 0, see weighted_positions()).
struct ForwardBackwardOutput {
  std::map<std::string, double> metrics = {};
};
/// Metrics by the name `grad_norm` (before clipping).
struct OptimStepOutput {
  std::map<std::string, double> metrics = {};
};

struct TrainingCapabilities {
  std::vector<std::string> losses = {};
  std::vector<Normalization> normalizations = {};
  bool has_soft_targets = false;  ///< cross_entropy takes (N, K)
  bool has_micro_batches = false;  ///< Loss::micro_batch_rows may be other than 0
  bool is_deterministic = false;  ///< the same calls give the same bits
  bool can_sample_snapshots_in_training = false;  ///< snapshots may be sampled while training goes on (on-policy)
  bool has_repeatable_snapshots = false;          ///< what SamplingCapabilities::is_repeatable() of a snapshot will say
};

/// A student's weights and optimizer of one moment: what its session does later changes nothing of it. Thread-safe.
class TrainingState {
 public:
  virtual ~TrainingState() = default;
  /// Writes what load_state() reads, into a directory that exists; every file is there whole, and on the disk when this returns. Blocks as long as
  /// the disk takes: not for a thread of the engine or of a model.
  [[nodiscard]] virtual Result<void> save(const std::filesystem::path& directory) const = 0;
};

/// One student and its optimizer. Thread-safe.
/// Operations run one after the other, in the order of the calls; a later one may be submitted before an earlier one is
/// done. Each ends in exactly one call of `done`, under the rules of Completion; a request to stop ends an operation that has not begun
/// with ErrorCode::cancelled, and it then changes nothing; one that has begun is finished.
class TrainingSession {
 public:
  virtual ~TrainingSession() = default;  ///< closes if close() was not called, and reports nothing

  /// Adds the gradient of the loss over `datums` to what is accumulated since the last optim_step.
  virtual void forward_backward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) = 0;
  /// The loss alone.
  virtual void forward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) = 0;
  /// One optimizer step on the accumulated gradient, which is zero afterwards. Where a forward_backward since the last one failed or was cancelled, it
  /// changes nothing, forgets the gradient and fails too: the two may be submitted back to back.
  virtual void optim_step(AdamParams params, std::stop_token stop, Completion<OptimStepOutput> done) = 0;
  /// The weights of this moment, as a sampler; later steps do not change it.
  virtual void snapshot(std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) = 0;
  /// Weights and optimizer of this moment, to be saved while training goes on: it waits for a copy in memory and no longer.
  virtual void capture_state(std::stop_token stop, Completion<std::shared_ptr<const TrainingState>> done) = 0;
  /// Weights and optimizer as TrainingState::save() wrote them. After an error nothing has changed.
  virtual void load_state(std::filesystem::path directory, std::stop_token stop, Completion<std::monostate> done) = 0;
  /// What snapshot() gave, from a directory that its save_weights() or a TrainingState of the same moment has written.
  virtual void load_snapshot(std::filesystem::path directory, std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) = 0;
  /// The weights for other programs (Hugging Face layout where the backend has one), into a directory that exists.
  virtual void export_weights(std::filesystem::path directory, std::stop_token stop, Completion<std::monostate> done) = 0;
  /// SHA-256 over the weights' tensors by name, in hexadecimal: equal if and only if the weights are, bit for bit.
  virtual void weights_digest(std::stop_token stop, Completion<std::string> done) = 0;

  [[nodiscard]] virtual const TrainingCapabilities& capabilities() const = 0;
  /// What the bits of its answers depend on beside the request: library versions, instruction set. By name.
  [[nodiscard]] virtual std::map<std::string, std::string> identity() const { return {}; }
  [[nodiscard]] virtual ModelUsage usage() const = 0;  ///< of training and of its snapshots' sampling
  /// No operation may be outstanding. A second call does nothing and succeeds.
  [[nodiscard]] virtual Result<void> close() = 0;
};

/// Opens students of one backend. Thread-safe.
class TrainingClient {
 public:
  virtual ~TrainingClient() = default;
  /// `model.model` names a configuration alone (random weights, drawn from `init_seed`) or a model with weights.
  virtual void start_session(ModelRef model, std::uint64_t init_seed, std::stop_token stop, Completion<std::unique_ptr<TrainingSession>> done) = 0;
  /// Whether start_session may be expected to succeed, as far as can be told without opening the model; costs nothing.
  [[nodiscard]] virtual Result<void> check(const ModelRef& model) const {
    (void)model;
    return {};
  }
  /// What tells the model that training begins with from any other, wherever it lies, as SamplingClient::model_identity; random weights are their
  /// configuration's. This one is the name.
  [[nodiscard]] virtual Result<std::string> model_identity(const ModelRef& model) const {
    return "name " + model.model + (model.checkpoint_path.empty() ? "" : ", checkpoint " + model.checkpoint_path);
  }
  /// How many tokens the model knows, as far as can be told without opening it: ids from 0 to one less. Empty: any, or not known.
  [[nodiscard]] virtual Result<std::optional<std::size_t>> vocab_size(const ModelRef& model) const {
    (void)model;
    return std::nullopt;
  }
  /// Before a session is open; costs nothing.
  [[nodiscard]] virtual TrainingCapabilities capabilities() const = 0;
};

}  // namespace pipestill
