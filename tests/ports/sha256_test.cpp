#include "ports/sha256.hpp"

#include <doctest/doctest.h>

using namespace pipestill;

TEST_CASE("SHA-256 gives the digests of FIPS 180-4's examples") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(Sha256().update("a").update("").update("bc").finish()) == sha256_hex("abc"));
}

TEST_CASE("numbers and fields enter a hash with one reading only") {
  CHECK(to_hex(Sha256().number(0x0102).finish()) == sha256_hex(std::string("\x02\x01\0\0\0\0\0\0", 8)));
  CHECK(Sha256().field("ab").field("c").finish() != Sha256().field("a").field("bc").finish());
}
