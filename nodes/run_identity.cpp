#include "nodes/run_identity.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <random>
#include <set>
#include <system_error>
#include <utility>

#include "nodes/pretty_json.hpp"
#include "ports/durable_file.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace json = boost::json;

namespace pipestill {
namespace {

/// As people read it: a list of CPU flags is long, and what differs is somewhere in it.
std::string shown_fact(const IdentityFacts& facts, const std::string& name) {
  const auto found = facts.find(name);
  return found == facts.end() ? "nothing" : printable(found->second, 100);
}

}  // namespace

Result<std::vector<std::string>> allowed_differences(const IdentityFacts& before, const IdentityFacts& now, std::span<const std::string> allowed) {
  std::set<std::string> names;
  for (const auto& [name, value] : before) names.insert(name);
  for (const auto& [name, value] : now) names.insert(name);
  std::vector<std::string> reasons;
  for (const auto& name : names) {
    const auto then = before.find(name), here = now.find(name);
    if (then != before.end() && here != now.end() && then->second == here->second) continue;
    if (std::ranges::find(allowed, name) == allowed.end()) {
      return fail(ErrorCode::invalid_input, "the run cannot go on as it began: " + name + " was " + shown_fact(before, name) + ", and is " + shown_fact(now, name) +
                                                " now; --allow-changed " + name + " says that it is meant");
    }
    reasons.push_back("resumed with another " + name + ": " + shown_fact(before, name) + " before, " + shown_fact(now, name) + " then");
  }
  return reasons;
}

std::string RunIdentity::fresh_name() {
  std::random_device random;
  std::string name;
  for (int i = 0; i < 4; ++i) name += fmt::format("{:08x}", random());
  return name;
}

Result<RunIdentity> RunIdentity::read(const std::filesystem::path& file) {
  RunIdentity identity;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return identity;
  const auto text = read_text_file(file, kMaxJsonBytes);
  if (!text) return fail(text.error());
  const auto parsed = parse_strict_json(*text, file.string());
  if (!parsed) return fail(parsed.error());
  const auto* object = parsed->if_object();
  const auto* run = object ? object->if_contains("run") : nullptr;
  const auto* facts = object ? object->if_contains("identity") : nullptr;
  const auto* reasons = object ? object->if_contains("reasons") : nullptr;
  if (!run || !run->is_string() || !facts || !facts->is_object() || !reasons || !reasons->is_array()) {
    return fail(ErrorCode::invalid_input, file.string() + " must be an object with run (a text), identity (an object of texts) and reasons (a list of texts)");
  }
  identity.run = run->get_string();
  for (const auto& [name, value] : facts->get_object()) {
    if (!value.is_string()) return fail(ErrorCode::invalid_input, file.string() + ": " + printable(name) + " must be a text");
    identity.facts.emplace(name, value.get_string());
  }
  for (const auto& reason : reasons->get_array()) {
    if (!reason.is_string()) return fail(ErrorCode::invalid_input, file.string() + ": reasons must be texts");
    identity.reasons.emplace_back(reason.get_string());
  }
  return identity;
}

Result<void> RunIdentity::write(const std::filesystem::path& file) const {
  json::object listed;
  for (const auto& [name, value] : facts) listed[name] = value;
  const json::object whole{{"run", run}, {"identity", std::move(listed)}, {"reasons", json::array(reasons.begin(), reasons.end())}};
  return write_file_atomically(file, to_pretty_json(whole) + "\n");
}

Result<void> RunIdentity::agrees_with(const IdentityFacts& some, std::span<const std::string> allowed) const {
  if (facts.empty()) return {};
  IdentityFacts before;
  for (const auto& [name, value] : some) {
    if (const auto found = facts.find(name); found != facts.end()) before.insert(*found);
  }
  if (auto changes = allowed_differences(before, some, allowed); !changes) return fail(std::move(changes.error()));
  return {};
}

Result<void> RunIdentity::take_over(const IdentityFacts& now, std::span<const std::string> allowed) {
  if (!facts.empty()) {
    auto changes = allowed_differences(facts, now, allowed);
    if (!changes) return fail(std::move(changes.error()));
    reasons.insert(reasons.end(), changes->begin(), changes->end());
  }
  facts = now;
  return {};
}

}  // namespace pipestill
