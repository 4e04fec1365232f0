#include "ports/renderer/python_json.hpp"

#include <doctest/doctest.h>

#include <string>

using pipestill::PythonJson;

namespace {

std::string printed(const std::string& text) {
  const auto value = PythonJson::parse(text);
  return value ? value->dumps() : value.error().message;
}

}  // namespace

// Expected: json.dumps(json.loads(text)) of CPython 3.11.
TEST_CASE("JSON is printed as Python prints it") {
  for (const auto& [text, expected] : {
           std::pair{R"({"city":"SF","n":1.50,"é":"ü"})", R"({"city": "SF", "n": 1.5, "\u00e9": "\u00fc"})"},
           std::pair{"[1,2.0,-0,-0.0,0.1]", "[1, 2.0, 0, -0.0, 0.1]"},
           std::pair{"[1e5,1E15,1e16,123456789012345680,1.5e-5,0.0001,1e22]",
                     "[100000.0, 1000000000000000.0, 1e+16, 123456789012345680, 1.5e-05, 0.0001, 1e+22]"},
           std::pair{"[123456789012345678901234567890,-98765432109876543210]", "[123456789012345678901234567890, -98765432109876543210]"},
           std::pair{"[NaN,Infinity,-Infinity,1e999,-1e999,1e-999,-1e-999,0.0e999999999999999999999]",
                     "[NaN, Infinity, -Infinity, Infinity, -Infinity, 0.0, -0.0, 0.0]"},
           std::pair{R"({"b":1,"a":2,"b":3})", R"({"b": 3, "a": 2})"},
           std::pair{R"(["\u00e9\ud83c\udf89","🎉","\ud83c","\/\b\f\n\r\t\"\\"])",
                     R"(["\u00e9\ud83c\udf89", "\ud83c\udf89", "\ud83c", "/\b\f\n\r\t\"\\"])"},
           std::pair{"[true,false,null,[],{}]", "[true, false, null, [], {}]"},
           std::pair{" \t\r\n\"\x7f\" ", "\"\x7f\""},
           std::pair{"5e-324", "5e-324"},
           std::pair{"1.7976931348623157e308", "1.7976931348623157e+308"},
           std::pair{"0.00000000000000000000000000001e29", "1.0"},
       }) {
    CAPTURE(text);
    CHECK(printed(text) == expected);
  }
}

TEST_CASE("what Python does not read as JSON is refused") {
  for (const char* text : {"", "{", "[1,]", "{\"a\":1,}", "{a:1}", "[1 2]", "01", "1.", ".5", "+1", "-", "nul", "\"a", "\"\n\"", R"("\x")",
                           R"("\u12")", "{} {}", "'a'"}) {
    CAPTURE(text);
    const auto value = PythonJson::parse(text);
    REQUIRE(!value);
    CHECK(value.error().code == pipestill::ErrorCode::invalid_input);
    CHECK(value.error().message.starts_with("Invalid JSON: "));
  }
  CHECK(PythonJson::parse(std::string(200, '[') + std::string(200, ']')));
  CHECK(!PythonJson::parse(std::string(202, '[') + std::string(202, ']')));
}

TEST_CASE("members and texts of a value") {
  const auto value = PythonJson::parse(R"({"name":"f\ud83c","n":1})").value();
  CHECK(value.find(U"name")->text() == "f\xef\xbf\xbd");
  CHECK(!value.find(U"n")->text());
  CHECK(value.find(U"other") == nullptr);
  CHECK(value.find(U"n")->find(U"name") == nullptr);
  CHECK(pipestill::python_quoted("é\xff\"") == R"("\u00e9\ufffd\"")");
}
