// Bytes as answers.sqlite: read from end to end, looked up, written to. corpus/answers_file is made by make_databases.py.
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "ports/checkpoint/answer_store.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pipestill;
using pipestill::fuzz::require;

fs::path answers_input() { return fuzz::scratch_directory() / "answers.sqlite"; }

void write_answers_input(const std::uint8_t* data, std::size_t size) {
  std::error_code ignored;
  for (const char* end : {"-wal", "-shm", "-journal"}) fs::remove(answers_input().string() + end, ignored);
  fuzz::write_input(answers_input(), data, size);
}

/// The sound ones; empty: the file was refused, at whatever place, as it should be.
std::optional<std::vector<StoredAnswer>> read_answers_input(std::size_t most) {
  std::vector<StoredAnswer> sound;
  std::size_t rows = 0;
  const auto done = read_answers(answers_input(), [&](const StoredAnswer& answer) {
    require(++rows <= most, "every answer takes a byte of the file at least");
    if (answer.payload) sound.push_back(answer);
  });
  if (!done) return fuzz::require_sound_refusal(done.error()), std::nullopt;
  const auto stats = answer_store_stats(answers_input(), true);
  require(stats && stats->answers == rows && stats->damaged == rows - sound.size(), "what is counted is what is read");
  return sound;
}

Result<std::optional<std::string>> find_answer(AnswerStore& store, const StoredAnswer& wanted) {
  std::promise<Result<std::optional<std::string>>> found;
  store.find(wanted.key, wanted.kind, [&](Result<std::optional<std::string>> result) { found.set_value(std::move(result)); });
  return found.get_future().get();
}

Result<std::string> commit_answer(AnswerStore& store, const StoredAnswer& answer) {
  std::promise<Result<std::string>> committed;
  store.commit(answer.key, answer.kind, "another payload", [&](Result<std::string> result) { committed.set_value(std::move(result)); });
  return committed.get_future().get();
}

/// What a run is told of a store that fails under way, whatever the reason.
void require_storage_error(const Error& error) {
  require(error.code == ErrorCode::storage_failed, error.message);
  require(error.message.find("answers.sqlite") != std::string::npos, error.message);
}

/// A store that is shared is not read from end to end before it is used: damage comes out where it is met.
void use_answers_input(const StoredAnswer& answer, bool is_whole) {
  const auto opened = AnswerStore::open(answers_input(), Durability::process);
  if (!opened) return fuzz::require_sound_refusal(opened.error());
  auto& store = **opened;
  const auto found = find_answer(store, answer);
  if (!found) return require_storage_error(found.error());
  if (is_whole && answer.payload && *found) require(**found == *answer.payload, "an answer is found as it is read");
  const auto committed = commit_answer(store, answer);
  if (!committed) return require_storage_error(committed.error());
  require(*committed == found->value_or("another payload"), "the first answer stays, and a new one is kept");
  const auto again = find_answer(store, answer);
  if (!again) return require_storage_error(again.error());
  require(!*again || **again == *committed, "what is found is what was committed");  // keys that stand in a wrong order may hide it
}

}  // namespace

PIPESTILL_FUZZ_TARGET(answers_file) {
  write_answers_input(data, size);
  const auto sound = read_answers_input(size);
  StoredAnswer answer{.key = sha256("new"), .kind = "sample"};
  use_answers_input(answer, sound.has_value());
  if (!sound || sound->empty()) return 0;
  write_answers_input(data, size);
  answer = sound->front();
  if (const auto store = AnswerStore::open_read_only(answers_input())) {
    const auto found = find_answer(**store, answer);
    if (!found) require_storage_error(found.error());
  }
  use_answers_input(answer, true);
  return 0;
}
