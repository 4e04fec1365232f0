#include "ports/sampling/stored_sampling_client.hpp"

#include <atomic>
#include <bit>
#include <iterator>
#include <string>
#include <thread>
#include <utility>

#include "ports/checkpoint/answer_codec.hpp"
#include "ports/fault_point.hpp"

namespace pipestill {
namespace {

constexpr const char *kSampleKind = "sample", *kScoreKind = "score", *kStudentSampleKind = "student_sample";

void add_tokens(Sha256& hash, const std::vector<Token>& tokens) {
  hash.number(tokens.size());
  for (const auto token : tokens) hash.number(static_cast<std::uint32_t>(token));
}

void add_stop(Sha256& hash, const Stop& stop) {
  hash.number(stop.index());
  if (const auto* texts = std::get_if<std::vector<std::string>>(&stop)) {
    hash.number(texts->size());
    for (const auto& text : *texts) hash.field(text);
  } else if (const auto* tokens = std::get_if<std::vector<Token>>(&stop)) {
    add_tokens(hash, *tokens);
  }
}

void add_request(Sha256& hash, const SampleRequest& request) {
  const auto& params = request.params;
  add_tokens(hash, request.prompt.to_ints());
  hash.number(static_cast<std::uint64_t>(params.max_tokens)).number(std::bit_cast<std::uint64_t>(params.temperature));
  hash.number(static_cast<std::uint64_t>(params.top_k)).number(std::bit_cast<std::uint64_t>(params.top_p));
  add_stop(hash, params.stop);
  hash.number(params.temperature == 0 ? 0 : 1);
  if (params.temperature != 0) hash.number(params.seed);
}

/// One kind of request: how it is asked, and how its answer is kept.
struct Sampling {
  using Request = SampleRequest;
  using Answer = SampledSequence;
  static constexpr const char* kKind = kSampleKind;
  static Result<Answer> decode(std::string_view bytes) { return decode_sample(bytes); }
  static void ask(SamplingSession& session, Request request, std::stop_token stop, Completion<Answer> done) {
    session.sample(std::move(request), std::move(stop), std::move(done));
  }
};
struct Scoring {
  using Request = ScoreRequest;
  using Answer = Score;
  static constexpr const char* kKind = kScoreKind;
  static Result<Answer> decode(std::string_view bytes) { return decode_score(bytes); }
  static void ask(SamplingSession& session, Request request, std::stop_token stop, Completion<Answer> done) {
    session.compute_logprobs(std::move(request), std::move(stop), std::move(done));
  }
};

struct StudentSampling : Sampling {
  static constexpr const char* kKind = kStudentSampleKind;
};

/// Who answers: the store, and the model behind it; null: recorded answers alone. Whoever is asked lives until the answer is there.
struct Source {
  std::shared_ptr<AnswerStore> store;
  std::shared_ptr<SamplingSession> model;
};

template <class Kind>
void keep(const Source& source, const Sha256Digest& key, Result<typename Kind::Answer> asked, const Completion<typename Kind::Answer>& done) {
  if (!asked) return done(fail(std::move(asked.error())));
  source.store->commit(key, Kind::kKind, encode_answer(*asked), [done, key, attempts = asked->attempts](Result<std::string> kept) {
    if (kept && traces_points()) trace_fact("committed " + to_hex(key));
    if (!kept) return done(fail(std::move(kept.error())));
    auto answer = Kind::decode(*kept);
    if (answer) answer->attempts = attempts;  // paid for, also where another process was first
    done(std::move(answer));
  });
}

template <class Kind>
void answer(const Source& source, const Sha256Digest& key, typename Kind::Request request, std::stop_token stop, Completion<typename Kind::Answer> done) {
  using Answer = typename Kind::Answer;
  source.store->find(key, Kind::kKind, [source, key, request = std::move(request), stop = std::move(stop), done = std::move(done)](Result<std::optional<std::string>> found) mutable {
    if (!found) return done(fail(std::move(found.error())));
    if (*found) {
      // A payload that its checksum covers and that cannot be read was written by another version: it is asked again, and stays.
      if (auto answer = Kind::decode(**found)) {
        answer->attempts = 0;
        return done(*std::move(answer));
      }
    }
    if (stop.stop_requested()) return done(fail(ErrorCode::cancelled, "the request was stopped"));
    if (!source.model) {
      return done(fail(ErrorCode::not_recorded, "the recorded answers in " + source.store->path().string() + " have none to this request: the run that is replayed was another, did not come so far, or has lost it"));
    }
    if (traces_points()) trace_fact("asked " + to_hex(key));
    Kind::ask(*source.model, std::move(request), std::move(stop), Completion<Answer>([source, key, done](Result<Answer> asked) { keep<Kind>(source, key, std::move(asked), done); }));
  });
}

class StoredSession final : public SamplingSession {
 public:
  StoredSession(Source source, AnswerOrigin origin, SamplingCapabilities capabilities) : source_(std::move(source)), origin_(std::move(origin)), capabilities_(capabilities) {
    capabilities_.can_stream = false;
  }

  void sample(SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) override {
    const auto key = answer_key(origin_, request);
    answer<Sampling>(source_, key, std::move(request), std::move(stop), counted(std::move(done)));
  }
  void compute_logprobs(ScoreRequest request, std::stop_token stop, Completion<Score> done) override {
    const auto key = answer_key(origin_, request);
    answer<Scoring>(source_, key, std::move(request), std::move(stop), counted(std::move(done)));
  }

  [[nodiscard]] const SamplingCapabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] std::map<std::string, std::string> identity() const override { return source_.model ? source_.model->identity() : std::map<std::string, std::string>(); }
  [[nodiscard]] ModelUsage usage() const override { return source_.model ? source_.model->usage() : ModelUsage{}; }
  [[nodiscard]] Result<void> close() override {
    if (const int outstanding = outstanding_->load(); outstanding > 0) {
      return fail(ErrorCode::internal, "a session with an answer store was closed with " + std::to_string(outstanding) + " requests outstanding");
    }
    return source_.model ? source_.model->close() : Result<void>();
  }

 private:
  template <class Answer>
  Completion<Answer> counted(Completion<Answer> done) {
    outstanding_->fetch_add(1);
    return Completion<Answer>([outstanding = outstanding_, done = std::move(done)](Result<Answer> result) {
      outstanding->fetch_sub(1);
      done(std::move(result));
    });
  }

  const Source source_;
  const AnswerOrigin origin_;
  const std::shared_ptr<std::atomic<int>> outstanding_ = std::make_shared<std::atomic<int>>(0);  // requests outlive the session
  SamplingCapabilities capabilities_;
};

class StoredClient final : public SamplingClient {
 public:
  StoredClient(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store, std::string tokenizer)
      : inner_(std::move(inner)), store_(std::move(store)), tokenizer_(std::move(tokenizer)) {}

  void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) override {
    auto identity = inner_->model_identity(model);
    inner_->start_session(std::move(model), std::move(stop),
                          Completion<std::unique_ptr<SamplingSession>>([store = store_, identity = std::move(identity), tokenizer = tokenizer_, done = std::move(done)](Result<std::unique_ptr<SamplingSession>> opened) {
                            if (!opened) return done(fail(std::move(opened.error())));
                            if (!identity) return done(fail(identity.error()));
                            if (!*opened) return done(nullptr);
                            const auto capabilities = (*opened)->capabilities();
                            done(std::make_unique<StoredSession>(Source{store, *std::move(opened)}, AnswerOrigin{*identity, tokenizer}, capabilities));
                          }));
  }
  [[nodiscard]] Result<void> check(const ModelRef& model) const override { return inner_->check(model); }
  [[nodiscard]] Result<std::optional<std::string>> tokenizer_fingerprint(const ModelRef& model) const override { return inner_->tokenizer_fingerprint(model); }
  [[nodiscard]] Result<std::string> model_identity(const ModelRef& model) const override { return inner_->model_identity(model); }
  [[nodiscard]] SamplingCapabilities capabilities() const override {
    auto capabilities = inner_->capabilities();
    capabilities.can_stream = false;
    return capabilities;
  }

 private:
  const std::shared_ptr<SamplingClient> inner_;
  const std::shared_ptr<AnswerStore> store_;
  const std::string tokenizer_;
};

class ReplayingClient final : public SamplingClient {
 public:
  ReplayingClient(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store, AnswerOrigin origin)
      : capabilities_(inner->capabilities()), store_(std::move(store)), origin_(std::move(origin)) {
    capabilities_.is_seeded = capabilities_.is_deterministic = true;
    capabilities_.can_stream = false;
  }

  void start_session(ModelRef, std::stop_token, Completion<std::unique_ptr<SamplingSession>> done) override {
    store_->post([store = store_, origin = origin_, capabilities = capabilities_, done = std::move(done)] { done(std::make_unique<StoredSession>(Source{store, nullptr}, origin, capabilities)); });
  }
  [[nodiscard]] Result<std::string> model_identity(const ModelRef&) const override { return origin_.model; }
  [[nodiscard]] SamplingCapabilities capabilities() const override { return capabilities_; }

 private:
  SamplingCapabilities capabilities_;
  const std::shared_ptr<AnswerStore> store_;
  const AnswerOrigin origin_;
};

}  // namespace

Sha256Digest answer_key(const AnswerOrigin& origin, const SampleRequest& request) {
  Sha256 hash;
  hash.field("pipestill answer 1").field(kSampleKind).field(origin.model).field(origin.tokenizer);
  add_request(hash, request);
  return hash.finish();
}

Sha256Digest answer_key(const AnswerOrigin& origin, const ScoreRequest& request) {
  Sha256 hash;
  hash.field("pipestill answer 1").field(kScoreKind).field(origin.model).field(origin.tokenizer);
  add_tokens(hash, request.tokens);
  return hash.number(static_cast<std::uint64_t>(request.top_k)).finish();
}

Sha256Digest answer_key(const std::string& run, const StudentDraw& draw, const SampleRequest& request) {
  Sha256 hash;
  hash.field("pipestill answer 1").field(kStudentSampleKind).field(run);
  hash.number(draw.dataset).number(draw.epoch).number(draw.row).number(draw.sample).number(draw.version);
  add_request(hash, request);
  return hash.finish();
}

void StudentSampleStore::sample(const StudentDraw& draw, std::shared_ptr<SamplingSession> student, SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) const {
  const auto key = answer_key(std::prev(names_.upper_bound(draw.step))->second, draw, request);
  answer<StudentSampling>({store_, is_recorded_only() ? nullptr : std::move(student)}, key, std::move(request), std::move(stop), std::move(done));
}

std::shared_ptr<SamplingClient> make_stored_sampling_client(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store, std::string tokenizer_fingerprint) {
  return std::make_shared<StoredClient>(std::move(inner), std::move(store), std::move(tokenizer_fingerprint));
}

std::shared_ptr<SamplingClient> make_replaying_sampling_client(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store, AnswerOrigin origin) {
  return std::make_shared<ReplayingClient>(std::move(inner), std::move(store), std::move(origin));
}

}  // namespace pipestill
