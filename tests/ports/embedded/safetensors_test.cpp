#include "ports/embedded/safetensors.hpp"

#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "ports/embedded/model_files.hpp"
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

TEST_CASE("every number of half precision is widened exactly") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "x.safetensors";
  std::string words;
  for (int word = 0; word < 1 << 16; ++word) {
    words += static_cast<char>(word & 0xff);
    words += static_cast<char>(word >> 8);
  }
  write_text(file, framed("{\"h\":" + entry("[65536]", "[0,131072]", "F16") + ",\"b\":" + entry("[65536]", "[131072,262144]", "BF16") + "}",
                          words + words));
  const auto opened = SafetensorsFile::open(file);
  REQUIRE(opened);
  std::vector<float> half(1 << 16), brain(1 << 16);
  REQUIRE(opened->read(*opened->find("h"), half));
  REQUIRE(opened->read(*opened->find("b"), brain));
  /// Sign, exponent and fraction as IEEE 754 reads them.
  const auto value_of_word = [](int word, int exponent_bits, int fraction_bits) {
    const int bias = (1 << (exponent_bits - 1)) - 1, most = (1 << exponent_bits) - 1;
    const int exponent = word >> fraction_bits & most, fraction = word & ((1 << fraction_bits) - 1);
    double x = 0;
    if (exponent == most) {
      x = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    } else {
      x = std::ldexp(fraction + (exponent ? 1 << fraction_bits : 0), std::max(exponent, 1) - bias - fraction_bits);
    }
    return std::copysign(x, word >> 15 ? -1.0 : 1.0);
  };
  int wrong = 0;
  for (int word = 0; word < 1 << 16; ++word) {
    const auto differs = [](float got, double want) {
      return std::isnan(want) ? !std::isnan(got) : static_cast<double>(got) != want || std::signbit(got) != std::signbit(want);
    };
    wrong += differs(half[static_cast<std::size_t>(word)], value_of_word(word, 5, 10)) +
             differs(brain[static_cast<std::size_t>(word)], value_of_word(word, 8, 7));
  }
  CHECK(wrong == 0);
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

TEST_CASE("a second copy of a tied output matrix must be one, and an untied model needs its own") {
  const TemporaryDirectory directory;
  auto config = small_config();
  const auto layout = make_layout(config);
  std::vector<float> flat(static_cast<std::size_t>(layout.total));
  for (std::size_t i = 0; i < flat.size(); ++i) flat[i] = static_cast<float>(i % 97);
  const auto file = directory.path() / "model.safetensors";
  const auto error_of_reading = [&](const std::vector<TensorView>& tensors, const ModelLayout& wanted) -> std::string {
    REQUIRE(write_safetensors(file, tensors, {}));
    std::vector<float> back(static_cast<std::size_t>(wanted.total));
    const auto read = read_tensors(value_of(SafetensorsFile::open(file)), wanted, back);
    return read ? "" : read.error().message;
  };
  auto with_head = tensor_views(layout, flat);
  with_head.push_back({"lm_head.weight", {40, 32}, std::span(flat).first(40 * 32)});
  CHECK(error_of_reading(with_head, layout).empty());
  auto other = std::vector<float>(flat.begin(), flat.begin() + 40 * 32);
  other[1279] += 1;
  with_head.back().data = other;
  CHECK(error_of_reading(with_head, layout).find("\"lm_head.weight\" differs from \"model.embed_tokens.weight\"") != std::string::npos);
  with_head.back() = {"lm_head.weight", {32, 40}, std::span(flat).first(40 * 32)};
  CHECK(error_of_reading(with_head, layout).find("\"lm_head.weight\" has shape [32, 40]") != std::string::npos);

  config.tie_word_embeddings = false;
  CHECK(error_of_reading(tensor_views(layout, flat), make_layout(config)).find("lacks the tensor \"lm_head.weight\"") != std::string::npos);
}

TEST_CASE("a checkpoint of several files is read as one, and its index must be right") {
  const TemporaryDirectory directory;
  const auto layout = make_layout(small_config());
  std::vector<float> flat(static_cast<std::size_t>(layout.total));
  for (std::size_t i = 0; i < flat.size(); ++i) flat[i] = static_cast<float>(i);
  const auto views = tensor_views(layout, flat);
  write_text(directory.path() / "config.json", to_json(small_config()));
  const auto weights = directory.path() / "model.safetensors", index = directory.path() / "model.safetensors.index.json";
  const auto shard = [](std::size_t i) { return "model-0000" + std::to_string(i + 1) + "-of-00003.safetensors"; };
  boost::json::object places;
  std::vector<std::vector<TensorView>> parts(3);
  for (std::size_t i = 0; i < views.size(); ++i) {
    parts[i * 5 % 3].push_back(views[i]);
    places[views[i].name] = shard(i * 5 % 3);
  }
  const auto write_index = [&](const boost::json::object& map) {
    write_text(index, boost::json::serialize(boost::json::object{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}));
  };
  const auto write_shards = [&] {
    for (std::size_t i = 0; i < 3; ++i) REQUIRE(write_safetensors(directory.path() / shard(i), parts[i], {{"format", "pt"}}));
  };
  write_index(places);
  write_shards();
  CHECK(checkpoint_exists(weights));
  const ModelRef model{directory.path().string(), ""};
  CHECK(embedded::check_model(model, false));
  CHECK(value_of(embedded::find_model_files(model, true)).weights == weights);  // and no fresh weights are drawn
  std::vector<float> back(flat.size());
  REQUIRE(read_tensors(value_of(open_checkpoint(weights)), layout, back));
  CHECK(back == flat);

  const auto refusal = [&] {
    const auto sound = embedded::check_model(model, false);
    REQUIRE_FALSE(sound);
    CHECK(sound.error().code == ErrorCode::invalid_input);
    CHECK(sound.error().message.find('\n') == std::string::npos);
    return sound.error().message;
  };
  const auto has = [](const std::string& message, const std::string& part) {
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
  };
  auto changed = places;
  changed["model.norm.weight"] = shard(0) == places["model.norm.weight"].as_string() ? shard(1) : shard(0);
  write_index(changed);
  has(refusal(), "has the tensor \"model.norm.weight\", which " + index.string() + " places in");
  changed = places;
  changed.erase("model.norm.weight");
  write_index(changed);
  has(refusal(), "does not list");
  changed = places;
  changed["extra"] = shard(2);
  write_index(changed);
  has(refusal(), shard(2) + " lacks the tensor \"extra\"");
  changed["extra"] = "model-00004-of-00003.safetensors";
  write_index(changed);
  has(refusal(), "cannot open the weights " + (directory.path() / "model-00004-of-00003.safetensors").string());
  for (const auto& name : {boost::json::value("../x.safetensors"), boost::json::value("/etc/passwd"), boost::json::value(".."),
                           boost::json::value(""), boost::json::value(3)}) {
    changed["extra"] = name;
    write_index(changed);
    has(refusal(), "the name of a file beside it is accepted");
  }
  write_text(index, "");
  has(refusal(), index.string() + ":1:1");
  for (const auto* text : {"[]", "{}", R"({"weight_map":{}})", R"({"weight_map":[]})"}) {
    write_text(index, text);
    has(refusal(), index.string() + " is damaged");
  }
  write_index(places);
  std::filesystem::remove(directory.path() / shard(1));
  has(refusal(), "cannot open the weights " + (directory.path() / shard(1)).string());
  write_shards();
  // Both in one place: the single file is the one that counts, as in transformers.
  REQUIRE(write_safetensors(weights, std::span(views).first(1), {}));
  has(refusal(), weights.string() + " lacks");
}

TEST_CASE("weights in another format are not taken for missing ones") {
  const TemporaryDirectory directory;
  write_text(directory.path() / "config.json", to_json(small_config()));
  const ModelRef model{directory.path().string(), ""};
  CHECK(embedded::check_model(model, true));
  for (const std::string name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    write_text(directory.path() / name, "x");
    const auto sound = embedded::check_model(model, true);
    REQUIRE_FALSE(sound);
    CHECK(sound.error().message.find(name) != std::string::npos);
    std::filesystem::remove(directory.path() / name);
  }
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
