// A checkpoint's manifest.json, over a directory of small files; behind a first zero byte, which no JSON holds, the state of the simulated student.
// Nothing outside the checkpoint may be opened: the kernel tells (inotify). Inside it lies a pipe, which would be waited for.
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <cstring>
#include <fstream>
#include <string>

#include "ports/checkpoint/checkpoint_store.hpp"
#include "ports/durable_file.hpp"
#include "ports/simulated/simulated_model.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace pipestill;
using pipestill::fuzz::require;

constexpr std::uint64_t kStep = 7;

void write_small_file(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

/// outer/outside, outer/checkpoints/outside and outer/checkpoints/step-00000007/...
class CheckpointGround {
 public:
  CheckpointGround() : watch_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    for (const char* file : {"student/weights", "student/deeper/weights", "version-00000006/weights", "version-00000005/weights", "beside"}) write_small_file(place() / file, "abc");
    write_small_file(place() / "student/empty", "");
    require(::mkfifo((place() / "student/pipe").c_str(), 0600) == 0, "a pipe can be made");
    write_small_file(outer() / "outside", "abc");
    write_small_file(outer() / "checkpoints/outside", "abc");
    for (const auto& directory : {outer(), outer() / "checkpoints"}) {
      require(watch_ >= 0 && ::inotify_add_watch(watch_, directory.c_str(), IN_OPEN) >= 0, "a directory can be watched");
    }
  }
  ~CheckpointGround() { ::close(watch_); }
  CheckpointGround(const CheckpointGround&) = delete;
  CheckpointGround& operator=(const CheckpointGround&) = delete;

  [[nodiscard]] static fs::path outer() { return fuzz::scratch_directory() / "checkpoint_manifest"; }
  [[nodiscard]] static fs::path place() { return outer() / "checkpoints/step-00000007"; }

  /// Whether a file, not a directory, in one of the two directories around the checkpoint was opened since the last call.
  [[nodiscard]] bool was_opened_outside() const {
    alignas(inotify_event) std::array<char, 4096> events;
    bool was_opened = false;
    for (ssize_t n = 0; (n = ::read(watch_, events.data(), events.size())) > 0;) {
      for (ssize_t at = 0; at < n;) {
        inotify_event event;
        std::memcpy(&event, events.data() + at, sizeof event);
        was_opened = was_opened || (event.mask & IN_ISDIR) == 0;
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
    }
    return was_opened;
  }

 private:
  int watch_;
};

/// Saves one file.
class OneFileState final : public TrainingState {
 public:
  [[nodiscard]] Result<void> save(const fs::path& directory) const override { return write_file_atomically(directory / "weights", "abc"); }
};

/// Read with another parser, and each file with another reader: what the manifest names is there, inside, as it says.
void require_whole(const json::object& manifest) {
  for (const auto& [key, entry] : manifest.at("files").as_object()) {
    const std::string name(key);
    require(!name.empty() && name.find('\0') == name.npos, "a file has a name that a file can have");
    const auto inside = fs::weakly_canonical(CheckpointGround::place() / name).lexically_relative(fs::canonical(CheckpointGround::place()));
    require(!inside.empty() && *inside.begin() != "..", "a file lies inside the checkpoint");
    std::ifstream in(CheckpointGround::place() / name, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const bool is_meant = entry.at("bytes").as_int64() == static_cast<std::int64_t>(text.size()) && std::string_view(entry.at("sha256").as_string()) == sha256_hex(text);
    require(is_meant, "a file is the one that the manifest means");
  }
}

/// What a checkpoint says of itself, saved by another one, is read again.
void require_facts_survive(const CheckpointFacts& facts) {
  CheckpointStore store(fuzz::scratch_directory() / "copied_checkpoints", {});
  const auto saved = store.save({.facts = facts, .student = std::make_shared<OneFileState>()});
  require(saved.has_value(), saved ? "" : saved.error().message);
  const auto copy = store.open(facts.step);
  require(copy.has_value(), copy ? "" : "a checkpoint with the same facts can be read: " + copy.error().message);
  require(copy->facts == facts, "facts survive being written and read");
}

void check_simulated_state(const std::uint8_t* data, std::size_t size) {
  const auto directory = fuzz::scratch_directory() / "simulated_state";
  fs::create_directories(directory);
  fuzz::write_input(directory / SimulatedState::kFileName, data, size);
  const auto state = SimulatedState::load(directory);
  if (!state) return fuzz::require_sound_refusal(state.error());
  require(state->save(directory).has_value(), "a state can be saved");
  const auto again = SimulatedState::load(directory);
  require(again && again->weights == state->weights && again->gradient == state->gradient && again->optim_steps == state->optim_steps, "a state survives being written and read");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(checkpoint_manifest) {
  static const CheckpointGround ground;
  const auto* zero = std::find(data, data + size, std::uint8_t{0});
  const auto manifest_size = static_cast<std::size_t>(zero - data);
  fuzz::write_input(CheckpointGround::place() / "manifest.json", data, manifest_size);
  if (zero != data + size) check_simulated_state(zero + 1, size - manifest_size - 1);

  const CheckpointStore store(CheckpointGround::outer() / "checkpoints", {});
  const auto saved = store.open(kStep);
  require(!ground.was_opened_outside(), "no file outside a checkpoint is opened");
  int passed_over = 0;
  const auto newest = store.newest(kStep, [&](const Error& error) {
    ++passed_over;
    fuzz::require_sound_refusal(error);
  });
  require(newest.has_value() == saved.has_value() && passed_over == (saved ? 0 : 1), "a checkpoint is taken, or passed over with a sentence");
  require(!store.newest(kStep - 1, [](const Error&) {}), "one behind the ledger's end is not taken");
  if (!saved) {
    fuzz::require_sound_refusal(saved.error());
    return 0;
  }
  require(saved->facts.step == kStep, "a checkpoint is of the step that its name says");
  require(saved->student == CheckpointGround::place() / "student" && fs::is_directory(saved->student), "the student lies in the checkpoint");
  for (const auto& [version, directory] : saved->versions) {
    require(fs::is_directory(directory) && directory == CheckpointGround::place() / ("version-0000000" + std::to_string(version)), "versions lie in the checkpoint");
  }
  require_whole(json::parse(std::string_view(reinterpret_cast<const char*>(data), manifest_size), {}, {.max_depth = 64}).as_object());
  require_facts_survive(saved->facts);
  return 0;
}
