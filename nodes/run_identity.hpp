#pragma once
// identity.json: what a run's equal bytes depend on beside its recipe, so that it goes on under the same conditions or not at all.
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill {

using IdentityFacts = std::map<std::string, std::string>;

/// A stretch of a run's batches, to the next part's: what they were computed by.
struct RunPart {
  std::uint64_t from = 0;      ///< its first batch
  std::string name = {};       ///< random, of no other run; a part that nothing its batches depend on sets apart has that of the one before
  boost::json::object recipe = {};  ///< as recipe.json
  IdentityFacts data = {};  ///< of RunIdentity::facts those that is_of_data()
  bool operator==(const RunPart&) const = default;
};

struct RunIdentity {
  IdentityFacts facts = {};
  std::vector<std::string> reasons = {};  ///< in sentences: what was changed on purpose while the run was resumed, so that its bytes may be others
  std::vector<RunPart> parts = {};  ///< by `from`; of those that begin with one batch all but the last came to nothing; empty: the run has not begun

  /// 128 bits of the system's randomness, in hexadecimal.
  [[nodiscard]] static std::string fresh_name();

  /// Those that have batches.
  [[nodiscard]] std::vector<RunPart> parts_with_batches() const;
  /// The names by the batch from which each holds.
  [[nodiscard]] std::map<std::uint64_t, std::string> names() const;
  /// The batches from `cursor` on are the last part's again, whose they were.
  void cut_back(std::uint64_t cursor);

  /// A file that is no such, or that has facts and no part, is ErrorCode::invalid_input; none is empty facts.
  [[nodiscard]] static Result<RunIdentity> read(const std::filesystem::path& file);
  [[nodiscard]] Result<void> write(const std::filesystem::path& file) const;

  /// Whether the facts that `some` names are those, or others that `allowed` names; take_over()'s error otherwise. Facts that were never taken over may be any.
  [[nodiscard]] Result<void> agrees_with(const IdentityFacts& some, std::span<const std::string> allowed) const;
  /// Takes `now` over, with a reason for every fact that is another than before. A change that `allowed` does not name is ErrorCode::invalid_input, naming
  /// fact and both values, and then nothing is taken over.
  [[nodiscard]] Result<void> take_over(const IdentityFacts& now, std::span<const std::string> allowed);
};

/// What is said of a fact before and now, shortened where it is long; "nothing" where nothing is.
struct FactDifference {
  std::string name, before, now;
};
/// By name.
[[nodiscard]] std::vector<FactDifference> differences(const IdentityFacts& before, const IdentityFacts& now);

/// The first sentence about a fact that differs and that `allowed` does not name, or the reasons for those that it does.
[[nodiscard]] Result<std::vector<std::string>> allowed_differences(const IdentityFacts& before, const IdentityFacts& now, std::span<const std::string> allowed);

}  // namespace pipestill
