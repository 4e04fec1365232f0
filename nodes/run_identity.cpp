#include "nodes/run_identity.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <random>
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

std::optional<IdentityFacts> texts_of(const json::value& value) {
  const auto* object = value.if_object();
  if (!object) return std::nullopt;
  IdentityFacts facts;
  for (const auto& [name, text] : *object) {
    if (!text.is_string()) return std::nullopt;
    facts.emplace(name, text.get_string());
  }
  return facts;
}

json::object object_of(const IdentityFacts& facts) {
  json::object object;
  for (const auto& [name, value] : facts) object[name] = value;
  return object;
}

std::optional<RunPart> part_of(const json::value& value) {
  const auto* object = value.if_object();
  if (!object) return std::nullopt;
  const auto *from = object->if_contains("from"), *name = object->if_contains("name"), *recipe = object->if_contains("recipe"), *data = object->if_contains("data");
  json::error_code not_whole;
  const auto first = from && from->is_number() ? from->to_number<std::uint64_t>(not_whole) : 0;
  if (!from || !from->is_number() || not_whole || !name || !name->is_string() || !recipe || !recipe->is_object()) return std::nullopt;
  auto texts = data ? texts_of(*data) : std::nullopt;
  if (!texts) return std::nullopt;
  return RunPart{first, std::string(name->get_string()), recipe->get_object(), *std::move(texts)};
}

}  // namespace

std::vector<FactDifference> differences(const IdentityFacts& before, const IdentityFacts& now) {
  auto all = before;
  all.insert(now.begin(), now.end());
  std::vector<FactDifference> found;
  for (const auto& [name, value] : all) {
    const auto then = before.find(name), here = now.find(name);
    if (then != before.end() && here != now.end() && then->second == here->second) continue;
    found.push_back({name, shown_fact(before, name), shown_fact(now, name)});
  }
  return found;
}

Result<std::vector<std::string>> allowed_differences(const IdentityFacts& before, const IdentityFacts& now, std::span<const std::string> allowed) {
  std::vector<std::string> reasons;
  for (const auto& [name, then, here] : differences(before, now)) {
    if (std::ranges::find(allowed, name) == allowed.end()) {
      return fail(ErrorCode::invalid_input,
                  "the run cannot go on as it began: " + name + " was " + then + ", and is " + here + " now; --allow-changed " + name + " says that it is meant");
    }
    reasons.push_back("resumed with another " + name + ": " + then + " before, " + here + " then");
  }
  return reasons;
}

std::string RunIdentity::fresh_name() {
  std::random_device random;
  std::string name;
  for (int i = 0; i < 4; ++i) name += fmt::format("{:08x}", random());
  return name;
}

std::vector<RunPart> RunIdentity::parts_with_batches() const {
  std::vector<RunPart> with;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i + 1 == parts.size() || parts[i].from < parts[i + 1].from) with.push_back(parts[i]);
  }
  return with;
}

std::map<std::uint64_t, std::string> RunIdentity::names() const {
  std::map<std::uint64_t, std::string> names;
  for (const auto& part : parts) names[part.from] = part.name;
  return names;
}

void RunIdentity::cut_back(std::uint64_t cursor) {
  for (auto& part : parts) part.from = std::min(part.from, cursor);
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
  const auto* parts = object ? object->if_contains("parts") : nullptr;
  const auto* facts = object ? object->if_contains("identity") : nullptr;
  const auto* reasons = object ? object->if_contains("reasons") : nullptr;
  if (!parts || !parts->is_array() || !facts || !facts->is_object() || !reasons || !reasons->is_array()) {
    return fail(ErrorCode::invalid_input, file.string() + " must be an object with parts (a list), identity (an object of texts) and reasons (a list of texts)");
  }
  for (const auto& each : parts->get_array()) {
    auto part = part_of(each);
    if (!part || (identity.parts.empty() ? part->from != 0 : part->from < identity.parts.back().from)) {
      return fail(ErrorCode::invalid_input, file.string() + ": each of parts must have from (a batch: of the first 0, of the others not before the last one's), name, recipe (an object) and data (an object of texts)");
    }
    identity.parts.push_back(*std::move(part));
  }
  auto texts = texts_of(*facts);
  if (!texts) return fail(ErrorCode::invalid_input, file.string() + ": identity must be an object of texts");
  identity.facts = *std::move(texts);
  if (identity.parts.empty() != identity.facts.empty()) return fail(ErrorCode::invalid_input, file.string() + ": parts and identity must both have something in them, or neither");
  for (const auto& reason : reasons->get_array()) {
    if (!reason.is_string()) return fail(ErrorCode::invalid_input, file.string() + ": reasons must be texts");
    identity.reasons.emplace_back(reason.get_string());
  }
  return identity;
}

Result<void> RunIdentity::write(const std::filesystem::path& file) const {
  json::array each;
  for (const auto& part : parts) {
    each.push_back(json::object{{"from", part.from}, {"name", part.name}, {"recipe", part.recipe}, {"data", object_of(part.data)}});
  }
  const json::object whole{{"parts", std::move(each)}, {"identity", object_of(facts)}, {"reasons", json::array(reasons.begin(), reasons.end())}};
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
