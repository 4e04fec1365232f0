#include "ports/dataset/numpy_random.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "ports/dataset/epoch_order.hpp"
#include "ports/dataset/seed_streams.hpp"
#include "ports/sha256.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::text;

namespace {

namespace json = boost::json;

BigSeed seed_of(const std::string& decimal) { return BigSeed::parse(decimal).value(); }

std::string digest_of(const std::vector<std::uint64_t>& order) {
  return sha256_hex({reinterpret_cast<const char*>(order.data()), order.size() * sizeof order[0]});
}

template <class T>
std::vector<T> numbers(const json::value& list) {
  std::vector<T> values;
  for (const auto& item : list.as_array())
    values.push_back(item.is_string() ? static_cast<T>(std::stoull(text(item))) : item.to_number<T>());
  return values;
}

}  // namespace

// The expectations of this file were printed by NumPy 2.4.6 (and those of the conformance data by 1.24.2).

TEST_CASE("a big seed reads and prints decimals of any size, and nothing else") {
  for (const char* decimal :
       {"0", "7", "4294967295", "4294967296", "18446744073709551616", "1461501637330902918203684832716283019655932542976"}) {
    CHECK(seed_of(decimal).to_string() == decimal);
  }
  CHECK(seed_of("007") == BigSeed(7));
  CHECK(seed_of("4294967296").words() == std::vector<std::uint32_t>{0, 1});
  CHECK((BigSeed(UINT64_MAX) + 1).to_string() == "18446744073709551616");
  CHECK((BigSeed(UINT64_MAX) + UINT64_MAX).words() == std::vector<std::uint32_t>{0xfffffffe, 0xffffffff, 1});
  for (const char* wrong : {"", "-1", "+1", "1.5", "0x10", " 1", "1 ", "1e3"}) {
    const auto parsed = BigSeed::parse(wrong);
    REQUIRE(!parsed);
    CHECK(parsed.error().code == ErrorCode::invalid_input);
  }
}

TEST_CASE("a seed sequence gives NumPy's words") {
  CHECK(SeedSequence(0).generate_state32(4) == std::vector<std::uint32_t>{2968811710, 3677149159, 745650761, 2884920346});
  CHECK(SeedSequence(42).generate_state64(2) == std::vector<std::uint64_t>{11465652750463011511u, 15382171918060459190u});
  CHECK(SeedSequence(seed_of("1267650600228229401496703205376")).generate_state32(4) ==
        std::vector<std::uint32_t>{740723363, 1301814144, 1259337830, 491388788});
  const std::vector<std::uint64_t> key{1, std::uint64_t{1} << 33};
  CHECK(SeedSequence(5, key).generate_state32(4) == std::vector<std::uint32_t>{3865017703, 2517618233, 918323543, 1923921719});
}

TEST_CASE("a permutation is NumPy's") {
  using Order = std::vector<std::uint64_t>;
  CHECK(default_rng(0).permutation(10) == Order{4, 6, 2, 7, 3, 5, 9, 0, 8, 1});
  CHECK(default_rng(42).permutation(10) == Order{5, 6, 0, 7, 3, 2, 4, 9, 1, 8});
  CHECK(default_rng(std::uint64_t{1} << 32).permutation(10) == Order{9, 1, 3, 8, 7, 6, 0, 4, 2, 5});
  CHECK(default_rng(seed_of("1267650600228229401496703205376")).permutation(10) == Order{8, 0, 6, 5, 7, 1, 4, 3, 9, 2});
  CHECK(default_rng(0).permutation(0).empty());
  CHECK(default_rng(0).permutation(1) == Order{0});
}

TEST_CASE("the buffered half of a draw survives 64-bit draws") {
  auto random = default_rng(3);
  CHECK(random.permutation(5) == std::vector<std::uint64_t>{4, 2, 1, 3, 0});
  CHECK(random.next_double() == 0x1.9a40a58e5cdbdp-1);
  CHECK(random.next_double() == 0x1.2a112473bd0c0p-1);
  CHECK(random.permutation(6) == std::vector<std::uint64_t>{5, 1, 4, 2, 3, 0});
}

TEST_CASE("an epoch's order is that of the run's seed plus the epoch, beyond 64 bits too") {
  CHECK(epoch_order(40, 2, 10) == default_rng(42).permutation(10));
  CHECK(epoch_order(UINT64_MAX, 1, 8) == std::vector<std::uint64_t>{4, 1, 5, 3, 6, 7, 2, 0});
}

TEST_CASE("every stream, dataset, epoch, row and sample has a seed of its own") {
  struct Vector {
    const char *seed, *stream;
    std::uint64_t dataset, epoch, row, sample, expected;
  };
  const Vector vectors[] = {
      {"0", "teacher", 0u, 0u, 0u, 0u, 11012731718382859065u},
      {"7", "teacher", 0u, 0u, 0u, 0u, 14283722511081573686u},
      {"7", "teacher", 0u, 0u, 0u, 1u, 11028456408162188066u},
      {"7", "teacher", 0u, 0u, 1u, 0u, 15515669963851931575u},
      {"7", "teacher", 0u, 1u, 0u, 0u, 392515741922740459u},
      {"7", "teacher", 1u, 0u, 0u, 0u, 15647042917023875413u},
      {"7", "student", 0u, 0u, 0u, 0u, 6559965128712843402u},
      {"7", "", 0u, 0u, 0u, 0u, 16421996554976979613u},
      {"4294967296", "teacher", 0u, 3u, 17u, 2u, 5200871836519656537u},
      {"1267650600228229401496703205377", "teacher", 0u, 0u, 4294967295u, 0u, 2032017059925713441u},
      {"1461501637330902918203684832716283019655932542976", "teacher", 0u, 0u, 4294967296u, 0u, 8846362887974498779u},
      {"7", "teacher", 0u, 0u, 1099511627781u, 3u, 6387148508455448216u},
  };
  for (const auto& v : vectors) {
    CAPTURE(v.seed);
    CAPTURE(v.stream);
    CHECK(draw_seed(seed_of(v.seed), v.stream, v.dataset, v.epoch, v.row, v.sample) == v.expected);
  }
}

TEST_CASE("NumPy conformance: seeds, generators and permutations") {
  const auto data = testing::conformance_data("pcg64_permutations.json");
  if (data.is_null()) {
    MESSAGE("skipped: no conformance data");
    return;
  }
  int permutations = 0;
  for (const auto& c : data.at("seeds").as_array()) {
    const BigSeed seed = seed_of(text(c.at("seed")));
    CAPTURE(seed.to_string());
    CHECK(seed.words() == numbers<std::uint32_t>(c.at("entropy_words_u32_le")));
    CHECK(SeedSequence(seed).generate_state32(8) == numbers<std::uint32_t>(c.at("generate_state_u32_8")));
    CHECK(SeedSequence(seed).generate_state64(4) == numbers<std::uint64_t>(c.at("generate_state_u64_4")));
    auto raw = default_rng(seed), halves = default_rng(seed), doubles = default_rng(seed);
    for (const auto expected : numbers<std::uint64_t>(c.at("random_raw_u64_first8"))) CHECK(raw.next64() == expected);
    for (const auto expected : numbers<std::uint32_t>(c.at("next32_first8"))) CHECK(halves.next32() == expected);
    for (const auto& expected : c.at("random_double_first4_hex").as_array()) CHECK(doubles.next_double() == std::stod(text(expected)));
    for (const auto& p : c.at("permutation").as_array()) {
      const auto n = p.at("n").to_number<std::uint64_t>();
      CAPTURE(n);
      const auto order = default_rng(seed).permutation(n);
      const auto first = numbers<std::uint64_t>(p.at("first20"));
      REQUIRE(order.size() == n);
      CHECK(std::equal(first.begin(), first.end(), order.begin()));
      CHECK(digest_of(order) == text(p.at("sha256_le_int64")));
      ++permutations;
    }
  }
  CHECK(permutations == 13 * 15);
  for (const auto& c : data.at("chained_permutations").as_array()) {
    auto random = default_rng(seed_of(text(c.at("seed"))));
    for (const auto& step : c.at("steps").as_array()) {
      const auto order = random.permutation(step.at("n").to_number<std::uint64_t>());
      CHECK(order == numbers<std::uint64_t>(step.at("perm")));
    }
  }
  for (const auto& c : data.at("spawn").as_array()) {
    for (const auto& child : c.at("children").as_array()) {
      const SeedSequence sequence(seed_of(text(c.at("seed"))), numbers<std::uint64_t>(child.at("spawn_key")));
      CHECK(sequence.generate_state64(4) == numbers<std::uint64_t>(child.at("generate_state_u64_4")));
      CHECK(NumpyGenerator(sequence).permutation(10) == numbers<std::uint64_t>(child.at("permutation_10")));
    }
  }
  for (const auto& c : data.at("dataset_shuffle_by_epoch_seed").as_array()) {
    CHECK(epoch_order(0, c.at("seed").to_number<std::uint64_t>(), c.at("n_rows").to_number<std::uint64_t>()) ==
          numbers<std::uint64_t>(c.at("row_order")));
  }
}
