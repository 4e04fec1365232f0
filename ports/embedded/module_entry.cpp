// The module's clients and its one exported symbol.
#include <algorithm>
#include <exception>
#include <filesystem>
#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/compute_thread.hpp"
#include "ports/embedded/sampler.hpp"
#include "ports/embedded/self_test.hpp"
#include "ports/embedded/torch_module.hpp"
#include "ports/embedded/trainer.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill::embedded {
namespace {

/// The tokenizer that lies with the model, if one does.
std::shared_ptr<const Tokenizer> tokenizer_of(const ModelRef& model) {
  std::filesystem::path directory = model.model;
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory, ignored)) directory = directory.parent_path();
  auto tokenizer = Tokenizer::load(directory.string());
  return tokenizer ? *tokenizer : nullptr;
}

/// Weights that are read or drawn, and have passed the self-test.
Result<Weights> open_tested(const ModelRef& ref, const std::uint64_t* seed, int threads) {
  auto weights = open_model(ref, seed);
  if (!weights) return weights;
  auto shared = std::make_shared<Weights>(std::move(*weights));
  const auto& config = shared->layout.config;
  const Model model{shared, std::make_shared<RotaryTable<float>>(config, std::min(config.max_position_embeddings, 8))};
  if (auto sound = check_batch_invariance(model, threads); !sound) return fail(std::move(sound.error()));
  return std::move(*shared);
}

/// Runs open() -> Result<T> on the thread and answers with it.
template <class T, class Open>
void open_session(const Workplace& place, std::stop_token stop, Completion<T> done, Open open) {
  place.thread->submit(ComputeThread::Priority::training, place.meter,
                       [place, stop = std::move(stop), done = std::move(done), open = std::move(open)] {
                         auto result = [&]() -> Result<T> {
                           if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the opening of a model was stopped");
                           try {
                             return open();
                           } catch (const std::exception& e) {
                             return fail(ErrorCode::backend_failed, "the embedded model could not be opened: " + first_line(e));
                           }
                         }();
                         done(std::move(result));
                       });
}

class TorchSamplingClient final : public SamplingClient {
 public:
  explicit TorchSamplingClient(TorchOptions options) : options_(options) {}

  void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) override {
    const Workplace place{thread_, std::make_shared<UsageMeter>(), options_.compute_threads};
    open_session(place, std::move(stop), std::move(done), [place, model = std::move(model)]() -> Result<std::unique_ptr<SamplingSession>> {
      auto weights = open_tested(model, nullptr, place.threads);
      if (!weights) return fail(std::move(weights.error()));
      const auto& config = weights->layout.config;
      auto rotary = std::make_shared<RotaryTable<float>>(config, config.max_position_embeddings);
      Model opened{std::make_shared<Weights>(std::move(*weights)), std::move(rotary)};
      return make_sampling_session(std::make_shared<Sampler>(std::move(opened), place, tokenizer_of(model)));
    });
  }
  [[nodiscard]] SamplingCapabilities capabilities() const override { return sampling_capabilities(); }

 private:
  const TorchOptions options_;
  const std::shared_ptr<ComputeThread> thread_ = std::make_shared<ComputeThread>();
};

class TorchTrainingClient final : public TrainingClient {
 public:
  explicit TorchTrainingClient(TorchOptions options) : options_(options) {}

  void start_session(ModelRef model, std::uint64_t init_seed, std::stop_token stop,
                     Completion<std::unique_ptr<TrainingSession>> done) override {
    const Workplace place{thread_, std::make_shared<UsageMeter>(), options_.compute_threads};
    open_session(place, std::move(stop), std::move(done),
                 [place, model = std::move(model), init_seed]() -> Result<std::unique_ptr<TrainingSession>> {
                   auto weights = open_tested(model, &init_seed, place.threads);
                   if (!weights) return fail(std::move(weights.error()));
                   return make_training_session(std::move(*weights), place, tokenizer_of(model));
                 });
  }
  [[nodiscard]] TrainingCapabilities capabilities() const override { return training_capabilities(); }

 private:
  const TorchOptions options_;
  const std::shared_ptr<ComputeThread> thread_ = std::make_shared<ComputeThread>();
};

}  // namespace
}  // namespace pipestill::embedded

extern "C" __attribute__((visibility("default"))) const pipestill::embedded::TorchModule* pipestill_torch_module() {
  using namespace pipestill;
  using namespace pipestill::embedded;
  static constexpr TorchModule module{
      PIPESTILL_MODULE_VERSION,
      [](TorchOptions options) -> std::shared_ptr<SamplingClient> { return std::make_shared<TorchSamplingClient>(options); },
      [](TorchOptions options) -> std::shared_ptr<TrainingClient> { return std::make_shared<TorchTrainingClient>(options); }};
  return &module;
}
