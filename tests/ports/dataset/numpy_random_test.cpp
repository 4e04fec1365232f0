#include "ports/dataset/numpy_random.hpp"

#include <doctest/doctest.h>

#include "ports/dataset/epoch_order.hpp"
#include "ports/dataset/seed_streams.hpp"

using namespace pipestill;

namespace {

BigSeed seed_of(const std::string& decimal) { return BigSeed::parse(decimal).value(); }

}  // namespace

// The expectations of this file were printed by NumPy 2.4.6.

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
  const auto rows = [](const EpochOrder& order) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t k = 0; k < order.size(); ++k) all.push_back(order[k]);
    return all;
  };
  CHECK(rows(EpochOrder(40, 2, 10)) == default_rng(42).permutation(10));
  CHECK(rows(EpochOrder(UINT64_MAX, 1, 8)) == std::vector<std::uint64_t>{4, 1, 5, 3, 6, 7, 2, 0});
  CHECK(EpochOrder(7, 0, 0).size() == 0);
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
