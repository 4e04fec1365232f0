#pragma once
// identity.json: what a run's equal bytes depend on beside its recipe, so that it goes on under the same conditions or not at all.
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill {

using IdentityFacts = std::map<std::string, std::string>;

struct RunIdentity {
  IdentityFacts facts = {};
  std::vector<std::string> reasons = {};  ///< in sentences: what was changed on purpose while the run was resumed, so that its bytes may be others
  std::string run = {};  ///< a random name of its own: of no other run, and another one since it goes on under other conditions; empty: it has not begun

  [[nodiscard]] static std::string fresh_name();

  /// A file that is no such is ErrorCode::invalid_input; none is empty facts.
  [[nodiscard]] static Result<RunIdentity> read(const std::filesystem::path& file);
  [[nodiscard]] Result<void> write(const std::filesystem::path& file) const;

  /// Whether the facts that `some` names are those, or others that `allowed` names; take_over()'s error otherwise. Facts that were never taken over may be any.
  [[nodiscard]] Result<void> agrees_with(const IdentityFacts& some, std::span<const std::string> allowed) const;
  /// Takes `now` over, with a reason for every fact that is another than before. A change that `allowed` does not name is ErrorCode::invalid_input, naming
  /// fact and both values, and then nothing is taken over.
  [[nodiscard]] Result<void> take_over(const IdentityFacts& now, std::span<const std::string> allowed);
};

/// The first sentence about a fact that differs and that `allowed` does not name, or the reasons for those that it does.
[[nodiscard]] Result<std::vector<std::string>> allowed_differences(const IdentityFacts& before, const IdentityFacts& now, std::span<const std::string> allowed);

}  // namespace pipestill
