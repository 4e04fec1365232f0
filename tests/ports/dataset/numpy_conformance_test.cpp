// NumPy 1.24.2's own results: seeding, raw draws, permutations, integers, choice.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/value_to.hpp>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "ports/dataset/epoch_order.hpp"
#include "ports/dataset/numpy_random.hpp"
#include "ports/sha256.hpp"
#include "tests/support/conformance.hpp"

namespace {

namespace json = boost::json;
using namespace pipestill;

std::string text_of(const json::value& value) { return std::string(value.as_string()); }

BigSeed seed_at(const json::value& value) { return BigSeed::parse(text_of(value)).value(); }

/// A list of integers, some of them decimal strings because they are large.
template <class T>
std::vector<T> numbers_of(const json::value& list) {
  std::vector<T> numbers;
  for (const auto& item : list.as_array()) {
    if (!item.is_string()) {
      numbers.push_back(item.to_number<T>());
    } else if constexpr (std::is_signed_v<T>) {
      numbers.push_back(static_cast<T>(std::stoll(text_of(item))));
    } else {
      numbers.push_back(static_cast<T>(std::stoull(text_of(item))));
    }
  }
  return numbers;
}

NumpyGenerator::State state_of(const json::value& state) {
  return {text_of(state.at("state")), text_of(state.at("inc")), state.at("has_uint32").to_number<int>() != 0,
          state.at("uinteger").to_number<std::uint32_t>()};
}

std::vector<std::uint32_t> pool_of(const SeedSequence& sequence) { return {sequence.pool().begin(), sequence.pool().end()}; }

std::string digest_of_order(const std::vector<std::uint64_t>& order) {
  return sha256_hex({reinterpret_cast<const char*>(order.data()), order.size() * sizeof order[0]});
}

/// integers() of a dtype of 8 or 16 bits: within one call the values share 32-bit draws, lowest bits first. A run has no use for it.
template <class Word>
std::vector<std::int64_t> narrow_integers(NumpyGenerator& random, std::int64_t low, std::int64_t high, std::size_t size) {
  const auto count = static_cast<std::uint32_t>(high - low);
  constexpr std::uint32_t kBits = 8 * sizeof(Word), kMask = (1U << kBits) - 1;
  std::uint32_t buffer = 0, left = 0;
  const auto draw = [&] {
    if (left == 0) {
      buffer = random.next32();
      left = 32 / kBits;
    } else {
      buffer >>= kBits;
    }
    --left;
    return buffer & kMask;
  };
  std::vector<std::int64_t> values;
  const std::uint32_t threshold = (kMask + 1 - count) % count;
  while (values.size() < size) {
    std::uint32_t product = draw() * count;
    while ((product & kMask) < count && (product & kMask) < threshold) product = draw() * count;
    values.push_back(low + (product >> kBits));
  }
  return values;
}

std::vector<std::int64_t> integers_of(NumpyGenerator& random, std::int64_t low, std::int64_t high, const std::string& dtype, std::size_t size) {
  if (dtype == "uint8") return narrow_integers<std::uint8_t>(random, low, high, size);
  if (dtype == "int16") return narrow_integers<std::uint16_t>(random, low, high, size);
  REQUIRE((dtype == "int32" || dtype == "int64"));
  std::vector<std::int64_t> values(size);
  for (auto& value : values) value = random.integers(low, high);
  return values;
}

/// choice(n, n, replace=False) of a small n: Floyd's algorithm and a shuffle, whose places are drawn as integers.
std::vector<std::int64_t> choose_all(NumpyGenerator& random, std::int64_t n) {
  std::vector<std::int64_t> chosen;
  for (std::int64_t j = 0; j < n; ++j) {
    const auto value = random.integers(0, j + 1);
    chosen.push_back(std::ranges::find(chosen, value) == chosen.end() ? value : j);
  }
  for (std::int64_t i = n; i-- > 1;) std::swap(chosen[static_cast<std::size_t>(i)], chosen[static_cast<std::size_t>(random.integers(0, i + 1))]);
  return chosen;
}

/// choice(k, size, p=...).
std::vector<std::int64_t> choose_with(NumpyGenerator& random, std::vector<double> p, std::size_t size) {
  std::partial_sum(p.begin(), p.end(), p.begin());
  for (auto& sum : p) sum /= p.back();
  std::vector<std::int64_t> chosen(size);
  for (auto& value : chosen) value = std::ranges::upper_bound(p, random.next_double()) - p.begin();
  return chosen;
}

/// The data, or null where they are not there.
const json::value& numpy_data() {
  static const json::value data = [] {
    const auto dir = test::conformance_dir();
    return dir ? test::read_json(*dir / "pcg64_permutations.json") : json::value();
  }();
  if (data.is_null()) MESSAGE(test::kNoConformance);
  return data;
}

}  // namespace

TEST_CASE("seeds of any size give NumPy's words, states and draws") {
  const auto& data = numpy_data();
  if (data.is_null()) return;
  int permutations = 0;
  for (const auto& c : data.at("seeds").as_array()) {
    const BigSeed seed = seed_at(c.at("seed"));
    const SeedSequence sequence(seed);
    CAPTURE(seed.to_string());
    CHECK(seed.words() == numbers_of<std::uint32_t>(c.at("entropy_words_u32_le")));
    CHECK(pool_of(sequence) == numbers_of<std::uint32_t>(c.at("pool_u32")));
    CHECK(sequence.generate_state32(8) == numbers_of<std::uint32_t>(c.at("generate_state_u32_8")));
    CHECK(sequence.generate_state64(4) == numbers_of<std::uint64_t>(c.at("generate_state_u64_4")));
    auto raw = default_rng(seed), halves = default_rng(seed), doubles = default_rng(seed);
    CHECK(raw.state() == state_of(c.at("pcg64_initial")));
    for (const auto expected : numbers_of<std::uint64_t>(c.at("random_raw_u64_first8"))) CHECK(raw.next64() == expected);
    for (const auto expected : numbers_of<std::uint32_t>(c.at("next32_first8"))) CHECK(halves.next32() == expected);
    for (const auto& expected : c.at("random_double_first4_hex").as_array()) CHECK(doubles.next_double() == std::stod(text_of(expected)));
    for (const auto& p : c.at("permutation").as_array()) {
      const auto n = p.at("n").to_number<std::uint64_t>();
      CAPTURE(n);
      auto random = default_rng(seed);
      const auto order = random.permutation(n);
      const auto first = numbers_of<std::uint64_t>(p.at("first20"));
      REQUIRE(order.size() == n);
      CHECK(first.size() == std::min<std::uint64_t>(n, 20));
      CHECK(std::equal(first.begin(), first.end(), order.begin()));
      CHECK(digest_of_order(order) == text_of(p.at("sha256_le_int64")));
      CHECK(random.state() == state_of(p.at("state_after")));
      ++permutations;
    }
  }
  CHECK(permutations == 13 * 15);
  MESSAGE("pcg64_permutations.json: " << data.at("seeds").as_array().size() << " seeds with " << permutations << " permutations");
}

TEST_CASE("permutations one behind the other are NumPy's, with the state after each") {
  const auto& data = numpy_data();
  if (data.is_null()) return;
  int steps = 0;
  for (const auto& c : data.at("chained_permutations").as_array()) {
    auto random = default_rng(seed_at(c.at("seed")));
    for (const auto& step : c.at("steps").as_array()) {
      CHECK(random.permutation(step.at("n").to_number<std::uint64_t>()) == numbers_of<std::uint64_t>(step.at("perm")));
      CHECK(random.state() == state_of(step.at("state_after")));
      ++steps;
    }
  }
  CHECK(steps == 14);
  MESSAGE("pcg64_permutations.json: " << steps << " consecutive permutations");
}

TEST_CASE("spawned sequences and those of several numbers are NumPy's") {
  const auto& data = numpy_data();
  if (data.is_null()) return;
  int children = 0, sequences = 0;
  const auto check = [](const SeedSequence& sequence, const json::value& expected) {
    CHECK(pool_of(sequence) == numbers_of<std::uint32_t>(expected.at("pool_u32")));
    NumpyGenerator random(sequence);
    CHECK(random.state() == state_of(expected.at("pcg64_initial")));
    CHECK(random.permutation(10) == numbers_of<std::uint64_t>(expected.at("permutation_10")));
  };
  for (const auto& c : data.at("spawn").as_array()) {
    for (const auto& child : c.at("children").as_array()) {
      const SeedSequence sequence(seed_at(c.at("seed")), numbers_of<std::uint64_t>(child.at("spawn_key")));
      CHECK(sequence.generate_state64(4) == numbers_of<std::uint64_t>(child.at("generate_state_u64_4")));
      check(sequence, child);
      ++children;
    }
  }
  for (const auto& c : data.at("sequence_entropy").as_array()) {
    std::vector<BigSeed> entropy;
    for (const auto& number : c.at("entropy").as_array()) entropy.push_back(seed_at(number));
    check(SeedSequence(entropy), c);
    ++sequences;
  }
  CHECK(children == 12);
  CHECK(sequences == 3);
  MESSAGE("pcg64_permutations.json: " << children << " spawned sequences, " << sequences << " of several numbers");
}

TEST_CASE("integers() are NumPy's, in one call and in many") {
  const auto& data = numpy_data();
  if (data.is_null()) return;
  int cases = 0;
  for (const auto& c : data.at("integers").as_array()) {
    const auto low = std::stoll(text_of(c.at("low"))), high = std::stoll(text_of(c.at("high_exclusive")));
    const auto dtype = text_of(c.at("dtype"));
    CAPTURE(low);
    CAPTURE(high);
    CAPTURE(dtype);
    auto scalar = default_rng(seed_at(c.at("seed"))), vector = scalar;
    for (const auto expected : numbers_of<std::int64_t>(c.at("ten_scalar_calls"))) {
      CHECK(integers_of(scalar, low, high, dtype, 1) == std::vector<std::int64_t>{expected});
    }
    CHECK(integers_of(vector, low, high, dtype, 10) == numbers_of<std::int64_t>(c.at("one_call_size10")));
    CHECK(vector.state() == state_of(c.at("state_after_vector")));
    ++cases;
  }
  CHECK(cases == 19);
  MESSAGE("pcg64_permutations.json: " << cases << " ranges of integers()");
}

TEST_CASE("lists, rows and choices are shuffled and drawn as NumPy does") {
  const auto& data = numpy_data();
  if (data.is_null()) return;
  const auto& misc = data.at("misc");
  const BigSeed seed = seed_at(misc.at("seed"));
  std::vector<std::int64_t> list(10);
  std::iota(list.begin(), list.end(), 0);
  default_rng(seed).shuffle(std::span(list));
  CHECK(list == numbers_of<std::int64_t>(misc.at("list_shuffle_10")));
  std::vector<std::vector<std::int64_t>> rows;
  for (std::int64_t i = 0; i < 10; ++i) rows.push_back({i});
  default_rng(seed).shuffle(std::span(rows));
  for (std::size_t i = 0; i < rows.size(); ++i) CHECK(rows[i].front() == misc.at("rows_shuffle_10x1").at(i).to_number<std::int64_t>());
  std::vector<std::int64_t> firsts(10);  // of the rows of arange(100).reshape(10, 10)
  for (std::size_t i = 0; i < firsts.size(); ++i) firsts[i] = static_cast<std::int64_t>(10 * i);
  default_rng(seed).shuffle(std::span(firsts));
  CHECK(firsts == numbers_of<std::int64_t>(misc.at("permutation_of_array_10x10")));

  auto random = default_rng(seed);
  CHECK(choose_all(random, 10) == numbers_of<std::int64_t>(misc.at("choice_no_replace_10_of_10")));
  const auto& mix = misc.at("choice_p_interleave");
  auto drawn = default_rng(seed);
  CHECK(choose_with(drawn, json::value_to<std::vector<double>>(mix.at("p")), mix.at("size").to_number<std::size_t>()) == numbers_of<std::int64_t>(mix.at("out")));
  MESSAGE("pcg64_permutations.json: 3 shuffles, 2 choices");
}

TEST_CASE("epochs are ordered as datasets.Dataset.shuffle(seed) orders them") {
  const auto& data = numpy_data();
  if (data.is_null()) return;
  int epochs = 0;
  for (const auto& c : data.at("dataset_shuffle_by_epoch_seed").as_array()) {
    const EpochOrder order(0, c.at("seed").to_number<std::uint64_t>(), c.at("n_rows").to_number<std::uint64_t>());
    const auto expected = numbers_of<std::uint64_t>(c.at("row_order"));
    REQUIRE(order.size() == expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k) CHECK(order[k] == expected[k]);
    ++epochs;
  }
  CHECK(epochs == 4);
  MESSAGE("pcg64_permutations.json: " << epochs << " epoch orders");
}
