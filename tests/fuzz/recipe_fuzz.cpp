// The recipe. The input is the file's text; behind it, lines that begin with "--set " are overrides.
#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/pretty_json.hpp"
#include "nodes/recipe.hpp"
#include "ports/strict_json.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

namespace json = boost::json;
using namespace pipestill;
using pipestill::fuzz::require;

constexpr std::string_view kSet = "\n--set ";

/// Equal as numbers go: 10.0 and 10 are, and what Boost.JSON's own parser gets wrong does not count: the last digits of fractions, and 0e319,
/// which it takes for NaN.
bool is_alike(const json::value& a, const json::value& b) {
  if (a.is_array() && b.is_array()) {
    return std::ranges::equal(a.get_array(), b.get_array(), is_alike);
  }
  if (a.is_object() && b.is_object()) {
    return std::ranges::equal(a.get_object(), b.get_object(),
                              [](const auto& x, const auto& y) { return x.key() == y.key() && is_alike(x.value(), y.value()); });
  }
  if (a.is_number() && b.is_number() && (a.is_double() || b.is_double())) {
    const auto x = a.to_number<double>(), y = b.to_number<double>();
    return !(std::abs(x - y) > 1e-14 * std::abs(x) + 1e-320);
  }
  return a == b;
}

/// The strict parser accepts only what the lenient one does, reads the same from it, and reads what was written of it.
void check_strict_json(std::string_view text) {
  const auto value = parse_strict_json(text, "recipe.json");
  if (!value) {
    fuzz::require_sound_refusal(value.error());
    return;
  }
  json::error_code ec;
  const auto lenient = json::parse(text, ec);
  require(!ec, "what the strict parser accepts is JSON");
  require(is_alike(*value, lenient), "the strict parser reads what is there");
  const auto again = parse_strict_json(json::serialize(*value), "recipe.json");
  require(again.has_value() && *again == *value, "JSON survives being written and read");
  const auto pretty = parse_strict_json(to_pretty_json(*value), "recipe.json");
  require(pretty.has_value() && is_alike(*pretty, *value), "pretty JSON survives being written and read");
}

Result<Recipe> parse(std::string_view text, std::span<const Override> overrides) {
  return parse_recipe(text, "recipe.json", "/recipes", overrides);
}

}  // namespace

PIPESTILL_FUZZ_TARGET(recipe) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto take = [&rest] {
    const auto end = rest.find(kSet);
    const auto part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + kSet.size());
    return part;
  };
  const auto text = take();
  check_strict_json(text);
  std::vector<Override> overrides;
  while (!rest.empty()) {
    auto change = parse_override(take());
    if (!change) {
      fuzz::require_sound_refusal(change.error());
      return 0;
    }
    overrides.push_back(*std::move(change));
  }
  const auto recipe = parse(text, overrides);
  if (!recipe) {
    fuzz::require_sound_refusal(recipe.error());
    return 0;
  }
  // What a run directory's recipe.json says is the same recipe.
  const auto again = parse(to_pretty_json(recipe->resolved), {});
  require(again.has_value(), again ? "" : "a resolved recipe is accepted: " + again.error().message);
  require(again->resolved == recipe->resolved, "a resolved recipe resolves to itself");
  require(json::serialize(again->resolved) == json::serialize(recipe->resolved), "a resolved recipe keeps the order of its keys");
  require(again->identity() == recipe->identity(), "a resolved recipe has the same identity");
  require(again->seed == recipe->seed && again->method == recipe->method, "a resolved recipe means the same");
  return 0;
}
