#include "ports/embedded/model_files.hpp"
#include "ports/embedded/safetensors.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

std::string framed(const std::string& header, const std::string& data = {}) {
  std::string file;
  for (std::size_t i = 0, n = header.size(); i < 8; ++i, n >>= 8) file += static_cast<char>(n & 0xff);
  return file + header + data;
}

std::string error_of(const std::filesystem::path& file, const std::string& bytes) {
  write_text(file, bytes);
  const auto opened = SafetensorsFile::open(file);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == ErrorCode::invalid_input);
  CHECK(opened.error().message.starts_with(file.string()));
  return opened.error().message;
}

std::string entry(const std::string& shape, const std::string& offsets, const std::string& type = "F32") {
  return R"({"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

}  // namespace

TEST_CASE("tensors come back bit for bit") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "x.safetensors";
  const std::vector<float> a{1.5f, -0.0f, std::numeric_limits<float>::infinity(), 1e-42f, std::nanf("")}, b{7};
  const std::vector<TensorView> tensors{{"b", {1, 1}, b}, {"a", {5}, a}, {"none", {0, 3}, {}}};
  REQUIRE(write_safetensors(file, tensors, {{"step", "12"}}));

  const auto opened = SafetensorsFile::open(file);
  REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
  CHECK(opened->metadata().at("step") == "12");
  REQUIRE(opened->find("a"));
  std::vector<float> back(5);
  REQUIRE(opened->read(*opened->find("a"), back));
  CHECK(std::memcmp(back.data(), a.data(), 20) == 0);
  CHECK(opened->find("b")->shape == std::vector<std::int64_t>{1, 1});
  CHECK(opened->find("none")->count == 0);
  CHECK(opened->find("c") == nullptr);
  const auto bytes = read_text(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  CHECK(length % 8 == 0);
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);  // no temporary file is left
}

TEST_CASE("half precision is widened exactly") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "x.safetensors";
  // 1.0, -2.0, the smallest subnormal, infinity
  write_text(file, framed("{\"h\":" + entry("[4]", "[0,8]", "F16") + ",\"b\":" + entry("[1]", "[8,10]", "BF16") + "}",
                          std::string("\x00\x3c\x00\xc0\x01\x00\x00\x7c\xc0\x3f", 10)));
  const auto opened = SafetensorsFile::open(file);
  REQUIRE(opened);
  std::vector<float> h(4), b(1);
  REQUIRE(opened->read(*opened->find("h"), h));
  REQUIRE(opened->read(*opened->find("b"), b));
  CHECK(h == std::vector<float>{1.0f, -2.0f, 0x1p-24f, std::numeric_limits<float>::infinity()});
  CHECK(b[0] == 1.5f);
}

TEST_CASE("hostile headers are refused in one sentence") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "model.safetensors";
  const auto has = [](const std::string& message, const char* part) {
    CAPTURE(message);
    return message.find(part) != std::string::npos && message.find('\n') == std::string::npos;
  };
  const std::string four(4, '\0'), eight(8, '\0');
  CHECK(has(error_of(file, ""), "truncated"));
  CHECK(has(error_of(file, "1234567"), "truncated"));
  CHECK(has(error_of(file, std::string(8, '\xff')), "header length"));
  CHECK(has(error_of(file, std::string("\x00\x10\x00\x00\x00\x00\x00\x00{}", 10)), "truncated"));
  CHECK(has(error_of(file, framed("not json")), "JSON"));
  CHECK(has(error_of(file, framed("[1]")), "JSON"));
  CHECK(has(error_of(file, framed(std::string(5000, '['))), "levels of brackets"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0,4]") + ",\"a\":" + entry("[1]", "[0,4]") + "}", four)), "the key a is given twice"));
  CHECK(
      has(error_of(file, framed("{\"a\":" + entry("[1]", "[0,4]") + ",\"\\u0061\":" + entry("[1]", "[0,4]") + "}", four)), "the key a is given twice"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0,4]", "I64") + "}", four)), "I64"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[2]", "[0,4]") + "}", four)), "\"a\" has 4 bytes"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[-1]", "[0,4]") + "}", four)), "shape"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[4294967296,4294967296]", "[0,4]") + "}", four)), "shape"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[0,18446744073709551615]", "[0,0]") + "}")), "shape"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[4,0]") + "}", four)), "data_offsets"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0]") + "}", four)), "data_offsets"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0.5,4]") + "}", four)), "data_offsets"));
  CHECK(has(error_of(file, framed("{\"a\":3}", four)), "object"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0,4]") + ",\"b\":" + entry("[1]", "[0,4]") + "}", four)), "overlaps"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[4,8]") + "}", eight)), "hole"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0,4]") + "}", eight)), "no tensor"));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[2]", "[0,8]") + "}", four)), "truncated: tensor \"a\""));
  CHECK(has(error_of(file, framed("{\"a\":" + entry("[1]", "[0,4],\"dtype\":\"F32\"") + "}", four)), "the key a.dtype is given twice"));
  CHECK(has(error_of(file, framed(R"({"__metadata__":{"x":"1","x":"2"}})")), "the key __metadata__.x is given twice"));
  CHECK(has(error_of(file, framed("{\"__metadata__\":{\"x\":1}}")), "__metadata__"));
  CHECK(has(error_of(file, framed(R"({"a\n\u001b[2J":1})")), R"(tensor "a\u000a\u001b[2J" is not)"));
  CHECK_FALSE(SafetensorsFile::open(directory.path()));
  CHECK_FALSE(SafetensorsFile::open(directory.path() / "none"));
}

TEST_CASE("a file that is cut short after it was opened is an error") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "x.safetensors";
  const std::vector<float> a(1000, 1.0f);
  const std::vector<TensorView> tensors{{"a", {1000}, a}};
  REQUIRE(write_safetensors(file, tensors, {}));
  const auto opened = SafetensorsFile::open(file);
  REQUIRE(opened);
  std::filesystem::resize_file(file, 200);
  std::vector<float> back(1000);
  const auto read = opened->read(*opened->find("a"), back);
  REQUIRE_FALSE(read);
  CHECK(read.error().message.find("\"a\"") != std::string::npos);
}

TEST_CASE("a model directory is checked against its configuration without reading a weight") {
  const TemporaryDirectory directory;
  const auto config = small_config();
  const auto layout = make_layout(config);
  const std::vector<float> flat(static_cast<std::size_t>(layout.total), 0.5f);
  const auto views = tensor_views(layout, flat);
  write_text(directory.path() / "config.json", to_json(config));
  const auto file = directory.path() / "model.safetensors";

  CHECK_FALSE(embedded::check_model({directory.path().string(), ""}, false));
  REQUIRE(write_safetensors(file, views, {}));
  CHECK(embedded::check_model({directory.path().string(), ""}, false).has_value());
  CHECK(embedded::check_model({(directory.path() / "config.json").string(), ""}, true).has_value());

  auto fewer = views;
  fewer.pop_back();
  REQUIRE(write_safetensors(file, fewer, {}));
  CHECK(embedded::check_model({directory.path().string(), ""}, false).error().message.find("lacks the tensor \"model.norm.weight\"") != std::string::npos);
  auto other = views;
  std::swap(other[0].shape[0], other[0].shape[1]);
  REQUIRE(write_safetensors(file, other, {}));
  CHECK(embedded::check_model({directory.path().string(), ""}, false).error().message.find("has shape [32, 40]") != std::string::npos);
  auto more = views;
  more.push_back({"model.layers.0.self_attn.q_proj.bias", {1}, std::span(flat).first(1)});
  REQUIRE(write_safetensors(file, more, {}));
  CHECK(embedded::check_model({directory.path().string(), ""}, false).error().message.find("q_proj.bias") != std::string::npos);
}

TEST_CASE("the digest sees names, shapes and every bit, and not the order") {
  const std::vector<float> a{1, 2, 3, 4}, zero{0.0f}, minus{-0.0f};
  const auto base = weights_digest({{"a", {4}, a}, {"b", {1}, zero}});
  CHECK(base.size() == 64);
  CHECK(base == weights_digest({{"b", {1}, zero}, {"a", {4}, a}}));
  CHECK(base != weights_digest({{"a", {2, 2}, a}, {"b", {1}, zero}}));
  CHECK(base != weights_digest({{"a", {4}, a}, {"c", {1}, zero}}));
  CHECK(base != weights_digest({{"a", {4}, a}, {"b", {1}, minus}}));
}
