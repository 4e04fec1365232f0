#pragma once
// A model without weights: what it answers is a hash of its state and the request. It tests scheduling, not learning.
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "ports/sampling/sampling_client.hpp"
#include "ports/sha256.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// Immutable values of a state: equal states and requests give equal answers. Thread-safe.
///
/// log p(token | the tokens before) = -(log V + 2u), where u in [0, 1) is a hash of state, tokens before, and token: the same in sample()
/// and score(), and never more than a uniform model's, so that no sum of probabilities passes 1. Temperature, top_k and top_p enter the
/// hash only; at temperature 0, where nothing is drawn, the seed does not.
class SimulatedModel {
 public:
  /// `vocab_size` is at least 1; answers hold tokens below it.
  SimulatedModel(Sha256Digest state, int vocab_size) : state_(state), vocab_size_(vocab_size) {}

  /// One to max_tokens tokens. Where the parameters name stop tokens, the answer ends with the first of them, has none before, and is
  /// stopped; otherwise it is stopped if it is shorter than max_tokens. Strings to stop at are not looked for.
  [[nodiscard]] SampledSequence sample(std::span<const Token> prompt, const SamplingParams& params) const;
  [[nodiscard]] Score score(std::span<const Token> tokens, int top_k) const;

  [[nodiscard]] int vocab_size() const { return vocab_size_; }
  [[nodiscard]] const Sha256Digest& state() const { return state_; }

 private:
  Sha256Digest state_;
  int vocab_size_;
};

/// A simulated model on disk: `simulated.json` in a directory. No training is under way in `gradient` = nullopt.
struct SimulatedState {
  Sha256Digest weights{};
  std::optional<Sha256Digest> gradient = std::nullopt;  ///< what forward_backward has accumulated
  std::uint64_t optim_steps = 0;

  static constexpr const char* kFileName = "simulated.json";
  /// A missing or malformed file is ErrorCode::invalid_input, naming file and key.
  [[nodiscard]] static Result<SimulatedState> load(const std::filesystem::path& directory);
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const;
  /// The state that `model` means: its checkpoint's if it names one, that of the directory `model.model` if there is one in it, else a hash
  /// of the name and `seed`.
  [[nodiscard]] static Result<SimulatedState> open(const ModelRef& model, std::uint64_t seed);
};

}  // namespace pipestill
