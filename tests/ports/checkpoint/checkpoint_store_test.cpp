#include "ports/checkpoint/checkpoint_store.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "ports/durable_file.hpp"
#include "ports/fault_point.hpp"
#include "ports/simulated/simulated_model.hpp"
#include "ports/simulated/simulated_sampling_session.hpp"
#include "ports/text_file.hpp"
#include "tests/ports/faults.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using namespace pipestill::testing;
namespace fs = std::filesystem;

namespace {

class SavedState final : public TrainingState {
 public:
  explicit SavedState(std::uint64_t step) : state_{.weights = sha256(std::to_string(step)), .optim_steps = step} {}
  [[nodiscard]] Result<void> save(const fs::path& directory) const override { return state_.save(directory); }

 private:
  SimulatedState state_;
};

/// Of step n, with version n - 1.
StudentCheckpoint checkpoint_of(std::uint64_t step) {
  StudentCheckpoint checkpoint{.facts = {.step = step, .ledger_digest = "d" + std::to_string(step), .identity = {{"cpu", "one \"quoted\""}}}, .student = std::make_shared<SavedState>(step)};
  if (step > 0) {
    checkpoint.versions[step - 1] =
        make_simulated_sampling_session(SimulatedModel(sha256("version"), 256), {}, std::make_shared<SimulatedClock>(), std::make_shared<UsageMeter>());
  }
  return checkpoint;
}

using Steps = std::vector<std::uint64_t>;

std::optional<std::uint64_t> newest_in(const CheckpointStore& store, std::vector<std::string>* why = nullptr, std::uint64_t last = 1'000'000) {
  const auto found = store.newest(last, [&](const Error& error) {
    CHECK(error.code == ErrorCode::invalid_input);
    if (why) why->push_back(error.message);
  });
  return found ? std::optional(found->facts.step) : std::nullopt;
}

}  // namespace

TEST_CASE("checkpoints: what was saved is found again, with all it says") {
  const TempDir dir;
  CheckpointStore store(dir.path() / "checkpoints", {});
  CHECK(store.steps().empty());
  CHECK(!newest_in(store));
  REQUIRE(store.save(checkpoint_of(100)));
  const auto found = store.open(100);
  REQUIRE(found);
  CHECK(found->facts == checkpoint_of(100).facts);
  CHECK(SimulatedState::load(found->student)->optim_steps == 100);
  REQUIRE(found->versions.size() == 1);
  CHECK(SimulatedState::load(found->versions.at(99))->weights == sha256("version"));
  REQUIRE(store.save(checkpoint_of(0)));
  CHECK(store.open(0)->versions.empty());
  CHECK(store.steps() == Steps{0, 100});
  CHECK(newest_in(store) == 100);
}

TEST_CASE("checkpoints: the last ones stay, and one of every so many") {
  const TempDir dir;
  CheckpointStore store(dir.path(), {.keep_last = 2, .keep_every = 20});
  for (std::uint64_t step = 5; step <= 50; step += 5) REQUIRE(store.save(checkpoint_of(step)));
  CHECK(store.steps() == Steps{20, 40, 45, 50});
  REQUIRE(store.save(checkpoint_of(50)));  // again: it is replaced
  CHECK(store.steps() == Steps{20, 40, 45, 50});
  CHECK(newest_in(store) == 50);
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 4);
}

TEST_CASE("checkpoints: a damaged one, a half one and one before its time are passed over with a sentence") {
  const TempDir dir;
  CheckpointStore store(dir.path(), {.keep_last = 9});
  for (std::uint64_t step = 1; step <= 7; ++step) REQUIRE(store.save(checkpoint_of(step)));
  const auto file = [&](std::uint64_t step) { return store.path_of(step) / "student" / SimulatedState::kFileName; };
  auto text = read_file(file(7));
  text[text.size() / 2] ^= 1;
  REQUIRE(write_text_file(file(7), text));
  fs::resize_file(file(6), 5);
  fs::remove(store.path_of(5) / "version-00000004" / SimulatedState::kFileName);
  fs::remove(store.path_of(4) / "manifest.json");
  std::vector<std::string> why;
  CHECK(newest_in(store, &why) == 3);
  REQUIRE(why.size() == 4);
  CHECK(why[0].find("step-00000007 is damaged and not used: ") != std::string::npos);
  CHECK(why[0].find("another SHA-256") != std::string::npos);
  CHECK(why[1].find("has 5 bytes; the manifest says") != std::string::npos);
  CHECK(why[2].find("cannot read") != std::string::npos);
  CHECK(why[3].find("manifest.json") != std::string::npos);
  why.clear();
  CHECK(newest_in(store, &why, 2) == 2);
  CHECK(why.size() == 5);
  CHECK(why.back().find("the ledger ends at batch 2") != std::string::npos);

  REQUIRE(store.set_aside_behind(3));
  CHECK(store.steps() == Steps{1, 2, 3});
  CHECK(fs::exists(dir.path() / "step-00000007.damaged"));
  REQUIRE(store.save(checkpoint_of(7)));
  CHECK(newest_in(store) == 7);
}

TEST_CASE("checkpoints: a manifest that lies is refused") {
  const TempDir dir;
  const CheckpointStore store(dir.path(), {});
  const auto refused = [&](const std::string& manifest) {
    fs::create_directories(store.path_of(1));
    REQUIRE(write_text_file(store.path_of(1) / "manifest.json", manifest));
    const auto opened = store.open(1);
    REQUIRE(!opened);
    CHECK(opened.error().code == ErrorCode::invalid_input);
    return opened.error().message;
  };
  const auto with_files = [](const std::string& files, const std::string& step = "1") {
    return R"({"format":"pipestill checkpoint 1","step":)" + step + R"(,"ledger_digest":"","identity":{},"files":)" + files + "}";
  };
  CHECK(refused("[]").find("must be a JSON object") != std::string::npos);
  CHECK(refused("{").find("manifest.json:1:") != std::string::npos);
  CHECK(refused(R"({"format":"pipestill checkpoint 2"})").find("has another \"format\"") != std::string::npos);
  CHECK(refused(with_files("{}", "-1")).find("needs step") != std::string::npos);
  CHECK(refused(with_files("{}", "2")).find("of step 2") != std::string::npos);
  CHECK(refused(with_files("{}")).find("names no file of the student") != std::string::npos);
  CHECK(refused(with_files(R"({"a":5})")).find("bytes and sha256 of a") != std::string::npos);
  for (const char* outside : {"../step-00000002/x", "/etc/passwd", "student/../../x", "", "."}) {
    CAPTURE(std::string(outside));
    CHECK(refused(with_files(R"({")" + std::string(outside) + R"(":{"bytes":1,"sha256":"ab"}})")).find("outside the checkpoint") != std::string::npos);
  }
}

TEST_CASE("checkpoints: killed at any point of a save, the old one or the new one is there, whole") {
  const TempDir dir;
  int kills = 0, old_ones = 0;
  for (int passage = 1;; ++passage) {
    const auto directory = dir.path() / std::to_string(passage);
    REQUIRE(CheckpointStore(directory, {.keep_last = 1}).save(checkpoint_of(1)));
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Faults::set(("any:" + std::to_string(passage)).c_str());
      ::_exit(CheckpointStore(directory, {.keep_last = 1}).save(checkpoint_of(2)) ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) {
      CHECK(WEXITSTATUS(status) == 0);
      break;
    }
    CHECK(WTERMSIG(status) == SIGKILL);
    CAPTURE(passage);
    ++kills;
    CheckpointStore store(directory, {.keep_last = 1});
    const auto found = newest_in(store);
    REQUIRE(found);
    old_ones += found == 1 ? 1 : 0;
    REQUIRE(store.save(checkpoint_of(3)));  // goes on, and clears away what was left
    CHECK(store.steps() == Steps{3});
    CHECK(std::distance(fs::directory_iterator(directory), fs::directory_iterator()) == 1);
  }
  MESSAGE(kills << " kills, " << old_ones << " of them before the new one counted");
  CHECK(kills > 15);
  CHECK(old_ones > 10);
  CHECK(old_ones < kills);
}

TEST_CASE("checkpoints: a disk that is full leaves the old one and says what it could not write") {
  const TempDir dir;
  CheckpointStore store(dir.path(), {});
  REQUIRE(store.save(checkpoint_of(1)));
  for (const char* fault : {"file.write:1=ENOSPC", "file.write:3=EIO", "file.sync:2=EIO", "file.sync:6=ENOSPC", "file.rename:1=EROFS", "file.rename:4=ENOSPC", "directory.make=EIO"}) {
    CAPTURE(std::string(fault));
    {
      const Faults faults(fault);
      const auto saved = store.save(checkpoint_of(2));
      REQUIRE(!saved);
      CHECK(saved.error().code == ErrorCode::backend_failed);
      CHECK(saved.error().message.find(dir.path().string()) != std::string::npos);
    }
    CHECK(newest_in(store) == 1);
    CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 1);
  }
  REQUIRE(store.save(checkpoint_of(2)));
  CHECK(newest_in(store) == 2);
}
