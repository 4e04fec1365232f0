#pragma once
// The sampling port: a model that answers prompts. Teachers are reached through it, and so is a student's snapshot.
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "graph/base/completion.hpp"
#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// What a sampler can do; a recipe is checked against it before the run.
struct SamplingCapabilities {
  bool is_seeded = false;           ///< the same request with the same seed gets the same answer
  bool is_deterministic = false;    ///< ... whatever else runs beside it
  bool has_logprobs = false;        ///< every sampled token comes with its log-probability
  bool has_prompt_logprobs = false; ///< compute_logprobs works
  int max_top_k = 0;                ///< entries a position that compute_logprobs gives; 0: own tokens only
  bool can_stream = false;          ///< sample_stream hands tokens over as they are sampled; without, all at the end

  /// The same request gets the same answer, whenever it is asked.
  [[nodiscard]] bool is_repeatable() const { return is_seeded && is_deterministic; }
};

struct SampleRequest {
  ModelInput prompt;
  SamplingParams params;
};

struct ScoreRequest {
  std::vector<Token> tokens;
  int top_k = 0;
};

/// own[i] = log p(token i | tokens before it); own[0] is always missing. Where top_k > 0, top[i] holds at most top_k
/// (token, log-probability) for position i, best first, and top[0] nothing.
struct Score {
  std::vector<Logprob> own = {};
  std::vector<std::vector<std::pair<Token, float>>> top = {};
  std::uint32_t attempts = 1;  ///< as SampledSequence has it
};

/// What sample_stream calls for every token.
using TokenHandler = std::function<void(Token token, Logprob logprob)>;

/// One opened model. Thread-safe.
/// Every request ends in exactly one call of `done`, under the rules of Completion. A request to stop ends it promptly
/// with ErrorCode::cancelled. What the model answers is a value of its request alone where is_deterministic says so.
/// Sharing and lifetime: outstanding requests keep what they need alive; the caller awaits them before it destroys the session.
class SamplingSession {
 public:
  virtual ~SamplingSession() = default;  ///< closes if close() was not called, and reports nothing

  virtual void sample(SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) = 0;
  /// sample(), with every token handed to `on_token` before the answer is: the tokens and log-probabilities of the answer, in their order;
  /// of one that fails, as many as there were. on_token is called from any thread, one call after the other, never from inside this call,
  /// never under a lock, and neither throws nor blocks. Once `stop` is requested no call begins, but for one that may be on its way on
  /// another thread; `done` then gets ErrorCode::cancelled unless the whole answer was handed over before. None comes after `done` was
  /// called. This one hands over all tokens when sample() is done, for backends that cannot stream.
  virtual void sample_stream(SampleRequest request, std::stop_token stop, TokenHandler on_token, Completion<SampledSequence> done);
  /// Scores given tokens. Only where capabilities().has_prompt_logprobs.
  virtual void compute_logprobs(ScoreRequest request, std::stop_token stop, Completion<Score> done) = 0;

  [[nodiscard]] virtual const SamplingCapabilities& capabilities() const = 0;
  /// What the bits of its answers depend on beside the request: library versions, instruction set. By name.
  [[nodiscard]] virtual std::map<std::string, std::string> identity() const { return {}; }
  [[nodiscard]] virtual ModelUsage usage() const = 0;
  /// Of a student's snapshot that is not closed: the weights that it samples, into a directory that exists, as TrainingState::save() writes files.
  [[nodiscard]] virtual Result<void> save_weights(const std::filesystem::path& directory) const {
    return fail(ErrorCode::invalid_input, "this model has no weights that could be saved to " + directory.string());
  }
  /// Frees what the backend holds. No request may be outstanding. A second call does nothing and succeeds.
  [[nodiscard]] virtual Result<void> close() = 0;
};

/// Opens models of one backend. Thread-safe.
class SamplingClient {
 public:
  virtual ~SamplingClient() = default;
  virtual void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) = 0;
  /// Whether start_session may be expected to succeed, as far as can be told without opening the model; costs nothing.
  [[nodiscard]] virtual Result<void> check(const ModelRef& model) const {
    (void)model;
    return {};
  }
  /// The fingerprint of the model's own tokenizer (Tokenizer::fingerprint); empty where the client does not know it. Reads files at most.
  [[nodiscard]] virtual Result<std::optional<std::string>> tokenizer_fingerprint(const ModelRef& model) const {
    (void)model;
    return std::nullopt;
  }
  /// What tells the model's answers from any other's, wherever it lies: of local files a hash of their content, which reads them all. Equal identities and
  /// requests have equal distributions. This one is the name.
  [[nodiscard]] virtual Result<std::string> model_identity(const ModelRef& model) const {
    return "name " + model.model + (model.checkpoint_path.empty() ? "" : ", checkpoint " + model.checkpoint_path);
  }
  /// Before a session is open; costs nothing.
  [[nodiscard]] virtual SamplingCapabilities capabilities() const = 0;
};

}  // namespace pipestill
