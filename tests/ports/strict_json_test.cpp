#include "ports/strict_json.hpp"

#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <cmath>
#include <string>

namespace {

using pipestill::parse_strict_json;

/// The value as text, or the error.
std::string outcome(const std::string& text) {
  const auto value = parse_strict_json(text, "f.json");
  if (!value) CHECK(value.error().code == pipestill::ErrorCode::invalid_input);
  return value ? boost::json::serialize(*value) : value.error().message;
}

std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

}  // namespace

TEST_CASE("every kind of JSON value comes out as it was written") {
  CHECK(outcome(R"({"a":[1,-2,true,false,null,"x\u00e4\n"],"b":{"a":1}})") ==
        "{\"a\":[1,-2,true,false,null,\"x\u00e4\\n\"],\"b\":{\"a\":1}}");
  CHECK(outcome(" 7 \n\t") == "7");
  CHECK(outcome("[]") == "[]");
  CHECK(outcome("{}") == "{}");
  CHECK(outcome("18446744073709551615") == "18446744073709551615");
  CHECK(outcome("-9223372036854775808") == "-9223372036854775808");
}

TEST_CASE("decimal fractions are rounded as the compiler rounds them") {
  const std::pair<const char*, double> cases[] = {{"0.004", 0.004},
                                                  {"4e-3", 4e-3},
                                                  {"1.7976931348623157e308", 1.7976931348623157e308},
                                                  {"9007199254740993.0", 9007199254740993.0},
                                                  {"2.2250738585072011e-308", 2.2250738585072011e-308},
                                                  {"123456789012345678e-30", 123456789012345678e-30}};
  for (const auto& [text, number] : cases) {
    INFO(text);
    const auto value = parse_strict_json(text, "f.json");
    REQUIRE(value);
    CHECK(value->as_double() == number);
  }
}

TEST_CASE("a line's numbers are rounded correctly too, and one beyond 64 bits is the nearest double") {
  const auto number = [](const char* text) { return pipestill::parse_strict_json_line(text, "f.jsonl", {}).value().to_number<double>(); };
  CHECK(number("0.9452706955539223") == 0.9452706955539223);
  CHECK(number("0.38120423768821243") == 0.38120423768821243);
  CHECK(number("100000000000000000000") == 1e20);
  CHECK(std::isinf(number("1e400")));
}

TEST_CASE("a key that is given twice is refused with its path and place") {
  CHECK(outcome(R"({"a":1,"a":1})") == "f.json:1:10: the key a is given twice; keep one of the two");
  CHECK(outcome("{\"a\": {\n  \"b\": [1, {\"c\": 1, \"c\": 2}]}}") == "f.json:2:23: the key a.b[1].c is given twice; keep one of the two");
  CHECK(outcome(R"({"ab":1,"a\u0062":2})").find("the key ab is given twice") != std::string::npos);
  CHECK(outcome(R"({"a":{"x":1},"b":{"x":1}})") == R"({"a":{"x":1},"b":{"x":1}})");
}

TEST_CASE("a syntax error is reported with line and column") {
  CHECK(outcome("{\n  \"a\": 1,\n}") == "f.json:3:1: unexpected } (JSON has no comma behind the last element)");
  CHECK(outcome("[1,]") == "f.json:1:4: unexpected ] (JSON has no comma behind the last element)");
  CHECK(outcome("{\"a\": 1 // one\n}") == "f.json:1:9: unexpected / (JSON has no comments)");
  CHECK(outcome("{'a':1}") == "f.json:1:2: unexpected ' (JSON strings stand in double quotes)");
  CHECK(outcome("{\"a\": 1\n \"b\": 2}") == "f.json:2:2: unexpected \" in JSON");
  CHECK(outcome("[01]").find("f.json:1:3: ") == 0);
  CHECK(outcome("[NaN]").find("f.json:1:2: unexpected N") == 0);
  CHECK(outcome("\"a\nb\"").find("must be escaped") != std::string::npos);
  CHECK(outcome("\"\xff\"").find("not valid UTF-8") != std::string::npos);
}

TEST_CASE("columns count characters, not bytes") { CHECK(outcome("{\"\u00e4\u00f6\u00fc\": x}").find("f.json:1:9: unexpected x") == 0); }

TEST_CASE("text that ends too early or too late is refused") {
  for (const auto* text : {"", "  ", "{", "[1", "\"a", "{\"a\":"}) {
    CAPTURE(text);
    CHECK(outcome(text).find("the JSON text ends too early") != std::string::npos);
  }
  CHECK(outcome("{} {}") == "f.json:1:4: text behind the end of the JSON value");
}

TEST_CASE("numbers that would lose digits are refused") {
  CHECK(outcome("[18446744073709551616]").find("the integer 18446744073709551616 does not fit in 64 bits") != std::string::npos);
  CHECK(outcome("-9223372036854775809").find("write it as a string") != std::string::npos);
  CHECK(outcome("1e400").find("too large") != std::string::npos);
  CHECK(outcome("1e99999999999999").find("too large") != std::string::npos);
}

TEST_CASE("nesting ends at 32 levels") {
  CHECK(outcome(nested(32)) == nested(32));
  CHECK(outcome(nested(33)) == "f.json:1:33: more than 32 levels of brackets");
  CHECK(outcome(std::string(1000000, '[')) == "f.json:1:33: more than 32 levels of brackets");
}

TEST_CASE("a line of a file is refused with its number there, and within its own limits") {
  const auto outcome_of_line = [](std::string_view text, pipestill::JsonLineOptions options) {
    const auto value = pipestill::parse_strict_json_line(text, "f.jsonl", options);
    return value ? boost::json::serialize(*value) : value.error().message;
  };
  CHECK(outcome_of_line(R"({"a":1,"b":{"c":1,"c":2}})", {.line = 17}) == "f.jsonl:17:21: the key b.c is given twice; keep one of the two");
  CHECK(outcome_of_line(nested(3), {.line = 2, .max_depth = 3}) == nested(3));
  CHECK(outcome_of_line(nested(4), {.line = 2, .max_depth = 3}) == "f.jsonl:2:4: more than 3 levels of brackets");
  CHECK(outcome_of_line("[1,2]", {.max_bytes = 4}) == "f.jsonl: 5 bytes of JSON; at most 4 are read");
  const auto numbers = pipestill::parse_strict_json_line("[18446744073709551616, 1e400, 7, 0.5]", "f.jsonl", {}).value().as_array();
  CHECK(numbers[0].as_double() == 18446744073709551616.0);
  CHECK(std::isinf(numbers[1].as_double()));
  CHECK(numbers[2].as_int64() == 7);
  CHECK(numbers[3].as_double() == 0.5);
}

TEST_CASE("text above four megabytes is refused unread") {
  const auto text = [](std::size_t size) { return std::string("\"").append(size - 2, 'x').append("\""); };
  CHECK(parse_strict_json(text(pipestill::kMaxJsonBytes), "f.json").has_value());
  CHECK(outcome(text(pipestill::kMaxJsonBytes + 1)) == "f.json: 4194305 bytes of JSON; at most 4194304 are read");
}
