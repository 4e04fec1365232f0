#include "nodes/checkpoint_writer.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <future>
#include <variant>

#include "nodes/checkpointing.hpp"
#include "tests/nodes/fakes.hpp"
#include "tests/ports/support.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;
using pipestill::testing::TempDir;

/// Saves nothing but when it is let, and fails if it is told to.
struct GatedState final : TrainingState {
  std::shared_future<void> gate;
  bool is_broken = false;
  GatedState(std::shared_future<void> g, bool broken) : gate(std::move(g)), is_broken(broken) {}
  Result<void> save(const std::filesystem::path& directory) const override {
    gate.wait();
    if (is_broken) return fail(ErrorCode::backend_failed, "the disk is full");
    std::ofstream(directory / "weights") << "w";
    return {};
  }
};

struct Writing {
  TempDir dir;
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::shared_ptr<RecordingTelemetry> telemetry = std::make_shared<RecordingTelemetry>();
  int syncs = 0;
  std::shared_ptr<CheckpointWriter> writer = std::make_shared<CheckpointWriter>(CheckpointWriterOptions{.store = CheckpointStore(dir.path(), {.keep_last = 9}),
                                                                                                        .identity = {{"cpu", "this"}},
                                                                                                        .sync_ledger = [this]() -> Result<void> {
                                                                                                          ++syncs;
                                                                                                          return {};
                                                                                                        },
                                                                                                        .telemetry = telemetry,
                                                                                                        .clock = std::make_shared<SystemClock>()});
  [[nodiscard]] std::shared_ptr<const CapturedStudent> student(bool is_broken = false) const {
    return std::make_shared<const CapturedStudent>(CapturedStudent{std::make_shared<const GatedState>(opened, is_broken)});
  }
  [[nodiscard]] std::future<Result<std::monostate>> offer(std::uint64_t step, bool is_broken = false, std::stop_token stop = {}) const {
    auto taken = std::make_shared<std::promise<Result<std::monostate>>>();
    auto future = taken->get_future();
    writer->save(step, student(is_broken), std::move(stop), Completion<std::monostate>([taken](Result<std::monostate> r) { taken->set_value(std::move(r)); }));
    return future;
  }
  [[nodiscard]] std::vector<std::uint64_t> steps() const { return CheckpointStore(dir.path(), {}).steps(); }
};

bool is_there(const std::future<Result<std::monostate>>& taken) { return taken.wait_for(std::chrono::milliseconds(30)) == std::future_status::ready; }

}  // namespace

TEST_CASE("checkpoint writer: one is taken at once, the next when it is written, and none counts before its batches are recorded") {
  Writing w;
  CHECK(w.offer(10).get());
  CHECK(w.writer->has_taken(10));
  auto second = w.offer(20);
  CHECK(!is_there(second));
  w.gate.set_value();
  CHECK(!is_there(second));  // the batches before 10 are not recorded yet
  CHECK(w.steps().empty());
  w.writer->recorded(9, "too early");
  w.writer->recorded(10, "digest of 10");
  w.writer->recorded(11, "too late");
  CHECK(second.get());
  CHECK(w.steps() == std::vector<std::uint64_t>{10});
  w.writer->recorded(20, "digest of 20");
  REQUIRE(w.writer->finish());
  CHECK(w.steps() == std::vector<std::uint64_t>{10, 20});
  CHECK(w.syncs == 2);
  const auto saved = CheckpointStore(w.dir.path(), {}).open(10);
  REQUIRE(saved);
  CHECK(saved->facts == CheckpointFacts{10, "digest of 10", {{"cpu", "this"}}});
  CHECK(w.telemetry->count("pipestill.distillation.checkpoint") == 2);
  CHECK(w.telemetry->count("pipestill.distillation.checkpoint_wait") == 1);
}

TEST_CASE("checkpoint writer: what is never recorded is forgotten at the end, and gives way to the run's cut") {
  Writing w;
  w.gate.set_value();
  CHECK(w.offer(10).get());
  SUBCASE("at the end") {
    REQUIRE(w.writer->finish());
    CHECK(w.steps().empty());
  }
  SUBCASE("for the cut before it") {
    CHECK(w.offer(7).get());
    w.writer->recorded(7, "seven");
    REQUIRE(w.writer->finish());
    CHECK(w.steps() == std::vector<std::uint64_t>{7});
  }
}

TEST_CASE("checkpoint writer: what is no longer wanted is given back, also while the one before it waits for batches that a cut has taken away") {
  Writing w;
  w.gate.set_value();
  std::stop_source cut;
  CHECK(w.offer(10).get());
  SUBCASE("an offer that waits") {
    auto next = w.offer(20, false, cut.get_token());
    CHECK(!is_there(next));
    cut.request_stop();
    REQUIRE(next.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
    const auto given_back = next.get();
    REQUIRE(!given_back);
    CHECK(given_back.error().code == ErrorCode::cancelled);
  }
  SUBCASE("an offer that comes too late") {
    cut.request_stop();
    const auto given_back = w.offer(20, false, cut.get_token()).get();
    REQUIRE(!given_back);
    CHECK(given_back.error().code == ErrorCode::cancelled);
  }
  CHECK(w.writer->has_taken(10));
  w.writer->recorded(10, "ten");
  CHECK(w.offer(30).get());  // the next one is an offer like any other
  CHECK(w.writer->has_taken(30));
  w.writer->recorded(30, "thirty");
  REQUIRE(w.writer->finish());
  CHECK(w.steps() == std::vector<std::uint64_t>{10, 30});
}

TEST_CASE("checkpoint writer: a failure is told to whoever comes next, and nothing more is written") {
  Writing w;
  w.gate.set_value();
  CHECK(w.offer(10, true).get());
  w.writer->recorded(10, "ten");
  auto next = w.offer(20).get();
  REQUIRE(!next);
  CHECK(next.error().message == "the disk is full");
  CHECK(w.writer->health().error().message == "the disk is full");
  CHECK(w.writer->finish().error().message == "the disk is full");
  CHECK(w.steps().empty());
  CHECK(std::filesystem::is_empty(w.dir.path()));
}

TEST_CASE("the checkpoint stage passes batches unchanged, lets go of what it hands over, and fails behind a failure") {
  Writing w;
  w.gate.set_value();
  const auto clock = std::make_shared<SimulatedClock>();
  const Checkpointing stage(w.writer, clock);
  graph::Context context;
  const auto pass = [&](StepResult result) {
    Delivered<StepResult> out;
    stage(std::move(result), context, out.completion());
    return out;
  };
  const auto plain = pass({.at = {0, 3, 3}, .num_tokens = 5});
  CHECK(!plain.has());
  run_to_the_end(*clock);
  CHECK(plain.value().num_tokens == 5);

  StepResult due{.at = {0, 9, 9}, .num_tokens = 6, .captured = w.student(true)};
  std::promise<Result<StepResult>> passed;
  stage(std::move(due), context, Completion<StepResult>([&](Result<StepResult> r) { passed.set_value(std::move(r)); }));
  const auto result = passed.get_future().get();
  REQUIRE(result);
  CHECK(!result->captured);
  CHECK(result->num_tokens == 6);
  w.writer->recorded(10, "ten");
  while (w.writer->health()) std::this_thread::yield();
  const auto behind = pass({.at = {0, 10, 10}});
  run_to_the_end(*clock);
  CHECK(behind.error().message == "the disk is full");
}
