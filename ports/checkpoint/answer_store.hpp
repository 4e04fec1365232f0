#pragma once
// The answer store: answers that were paid for, or that cannot be had again, on the disk before anybody uses them.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"
#include "ports/sha256.hpp"

namespace pipestill {

/// What an answer outlives once it is committed: the process, whatever ends it (kill -9), or a loss of power too, for an fsync a group of answers.
enum class Durability { process, power };

struct AnswerStoreStats {
  std::uint64_t answers = 0, bytes = 0;  ///< of the answers alone
  std::map<std::string, std::uint64_t> by_kind = {};
  std::uint64_t damaged = 0;             ///< only where every row was read
};

/// One SQLite file with a table `answers`: key (32 bytes), kind, payload, and the first 16 bytes of SHA-256 over the three. The file may be shared: by several
/// models (the key tells them apart), by several processes at a time. Thread-safe. All work is done on a thread of the store's own; what waits while a group is
/// being committed is the next group.
class AnswerStore {
 public:
  /// Makes the file where there is none. One that is no answer store or of another version is ErrorCode::invalid_input, naming it.
  [[nodiscard]] static Result<std::shared_ptr<AnswerStore>> open(const std::filesystem::path& path, Durability durability);
  /// Only to look up.
  [[nodiscard]] static Result<std::shared_ptr<AnswerStore>> open_read_only(const std::filesystem::path& path);
  ~AnswerStore();  ///< commits what was asked for; may run on the store's own thread
  AnswerStore(const AnswerStore&) = delete;
  AnswerStore& operator=(const AnswerStore&) = delete;

  using Found = std::function<void(Result<std::optional<std::string>>)>;
  /// `then` gets the payload, on the store's thread, or nothing: there is none, or it is damaged.
  void find(const Sha256Digest& key, std::string kind, Found then);
  using Committed = std::function<void(Result<std::string>)>;
  /// `then` gets what the file holds behind the commit, on the store's thread: the first answer that was ever committed under the key, which need not be this one.
  /// A damaged one is replaced. A disk that fails is ErrorCode::storage_failed, naming the file.
  void commit(const Sha256Digest& key, std::string kind, std::string payload, Committed then);
  /// Runs it on the store's thread, behind what was asked before.
  void post(std::function<void()> task);

  /// Answers found and committed through this object, and damaged ones that were met.
  struct Counts {
    std::uint64_t found = 0, committed = 0, damaged = 0;
  };
  [[nodiscard]] Counts counts() const;
  [[nodiscard]] const std::filesystem::path& path() const;

 private:
  struct State;
  explicit AnswerStore(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // the thread's, too
};

/// Of the whole file. Reads every row where `reads_all`.
[[nodiscard]] Result<AnswerStoreStats> answer_store_stats(const std::filesystem::path& path, bool reads_all);
/// Every sound answer, in the order they were committed; `to` is told of each and of every damaged one (payload empty).
struct StoredAnswer {
  Sha256Digest key{};
  std::string kind = {};
  std::optional<std::string> payload = std::nullopt;  ///< empty: damaged
};
[[nodiscard]] Result<void> read_answers(const std::filesystem::path& path, const std::function<void(const StoredAnswer&)>& to);

}  // namespace pipestill
