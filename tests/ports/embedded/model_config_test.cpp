#include "ports/embedded/model_config.hpp"

#include <doctest/doctest.h>

#include <boost/json.hpp>

#include "ports/embedded/model_layout.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

/// small_config() as JSON with one key replaced by a JSON text; empty: removed.
std::string changed(const std::string& key, const std::string& value) {
  auto root = boost::json::parse(to_json(small_config())).as_object();
  root.erase(key);
  if (!value.empty()) root[key] = boost::json::parse(value);
  return boost::json::serialize(root);
}

}  // namespace

TEST_CASE("a configuration survives being written and read") {
  auto config = small_config();
  CHECK(value_of(parse_model_config(to_json(config), "x")) == config);
  config.family = ModelConfig::Family::qwen3;
  config.tie_word_embeddings = false;
  config.rope_theta = 1e6;
  CHECK(value_of(parse_model_config(to_json(config), "x")) == config);
}

TEST_CASE("a key that is given twice is refused, and a long value is cut") {
  const auto error = [](const std::string& text) { return parse_model_config(text, "x").error().message; };
  CHECK(error(R"({"hidden_size":32,"hidden_size":64})") == "x:1:31: the key hidden_size is given twice; keep one of the two");
  CHECK(error(changed("hidden_size", "\"" + std::string(5000, 'y') + "\"")).size() < 200);
  CHECK(error(changed("model_type", R"("a\nb")")) == R"(x: "model_type" is "a\u000ab"; "llama" or "qwen3" is accepted)");
}

TEST_CASE("defaults are those of the model families") {
  CHECK(value_of(parse_model_config(changed("num_key_value_heads", ""), "x")).num_key_value_heads == 4);
  CHECK(value_of(parse_model_config(changed("head_dim", ""), "x")).head_dim == 8);
  CHECK(value_of(parse_model_config(changed("rope_theta", ""), "x")).rope_theta == 10000);
  CHECK(value_of(parse_model_config(changed("rope_parameters", R"({"rope_type":"default","rope_theta":5e5})"), "x")).rope_theta == 5e5);
  CHECK(value_of(parse_model_config(changed("head_dim", "6"), "x")).head_dim == 6);
  for (const auto& [key, value] : {std::pair{"bos_token_id", "1"},
                                   {"eos_token_id", "[1, 2]"},
                                   {"pretraining_tp", "1"},
                                   {"use_cache", "true"},
                                   {"attention_dropout", "0.0"},
                                   {"rope_scaling", "null"},
                                   {"sliding_window", "null"},
                                   {"transformers_version", R"("4.56.0")"}}) {
    CAPTURE(key);
    CHECK(value_of(parse_model_config(changed(key, value), "x")) == small_config());
  }
}

TEST_CASE("rotary scaling is read by the old keys and by the new one, and survives being written") {
  const auto linear = [](double factor) { return RopeScaling{.kind = RopeScaling::Kind::linear, .factor = factor}; };
  const RopeScaling llama3{.kind = RopeScaling::Kind::llama3,
                           .factor = 32,
                           .low_freq_factor = 1,
                           .high_freq_factor = 4,
                           .original_max_position_embeddings = 8192};
  const auto read = [](const char* key, const char* value) { return value_of(parse_model_config(changed(key, value), "x")); };
  CHECK(read("rope_scaling", R"({"type":"linear","factor":2.5})").rope_scaling == linear(2.5));
  CHECK(read("rope_scaling", R"({"rope_type":"linear","factor":2})").rope_scaling == linear(2));
  CHECK(read("rope_scaling", R"({"rope_type":"linear","type":"linear","factor":2})").rope_scaling == linear(2));
  CHECK(read("rope_scaling", R"({"rope_type":"default"})") == small_config());
  const auto of_llama32 =
      read("rope_scaling",
           R"({"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"})");
  CHECK(of_llama32.rope_scaling == llama3);
  CHECK(of_llama32.rope_theta == 10000);
  const auto newer = read("rope_parameters", R"({"rope_type":"linear","factor":3,"rope_theta":5e5})");
  CHECK(newer.rope_scaling == linear(3));
  CHECK(newer.rope_theta == 5e5);
  for (const auto& config : {of_llama32, newer}) CHECK(value_of(parse_model_config(to_json(config), "x")) == config);
}

TEST_CASE("rotary scaling that is not supported, not whole or contradicts itself is refused by name") {
  const auto refusal = [](const char* key, const char* value) {
    const auto config = parse_model_config(changed(key, value), "here/config.json");
    REQUIRE_MESSAGE(!config, value);
    CHECK(config.error().code == ErrorCode::invalid_input);
    return config.error().message;
  };
  for (const std::string kind : {"dynamic", "yarn", "longrope", "su", "proportional"}) {
    for (const std::string spelling : {"type", "rope_type"}) {
      for (const char* key : {"rope_scaling", "rope_parameters"}) {
        CHECK(refusal(key, ("{\"" + spelling + "\":\"" + kind + "\",\"factor\":2}").c_str()) ==
              "here/config.json: \"" + std::string(key) + "." + spelling + "\" is \"" + kind +
                  "\"; \"default\", \"linear\" or \"llama3\" is accepted");
      }
    }
  }
  CHECK(refusal("rope_scaling", R"({"type":"linear"})") == "here/config.json: \"rope_scaling.factor\" is missing");
  CHECK(refusal("rope_scaling", R"({"type":"linear","factor":0.5})").find("\"rope_scaling.factor\" is 5E-1") != std::string::npos);
  CHECK(refusal("rope_scaling", R"({"type":"linear","rope_type":"llama3","factor":2})").find("must agree") != std::string::npos);
  CHECK(refusal("rope_scaling", R"({"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4})")
            .find("original_max_position_embeddings\" is missing") != std::string::npos);
  CHECK(refusal("rope_scaling",
                R"({"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":64})")
            .find("rope_scaling.high_freq_factor\" is not above") != std::string::npos);
  CHECK(refusal("rope_scaling", "[]").find("not an object") != std::string::npos);
  CHECK(refusal("rope_parameters", R"({"full_attention":{"rope_type":"default"}})").find("rope_parameters.full_attention") !=
        std::string::npos);
  CHECK(refusal("rope_parameters", R"({"rope_theta":-1})").find("rope_parameters.rope_theta") != std::string::npos);
  CHECK(refusal("rope_parameters", R"({"rope_theta":1e4,"partial_rotary_factor":0.5})").find("rope_parameters.partial_rotary_factor") !=
        std::string::npos);
  auto both = boost::json::parse(to_json(small_config())).as_object();
  both["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  both["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2}};
  CHECK(parse_model_config(boost::json::serialize(both), "x"));
  both["rope_parameters"] = {{"rope_type", "default"}};
  CHECK(parse_model_config(boost::json::serialize(both), "x").error().message.find("\"rope_parameters\"") != std::string::npos);
}

TEST_CASE("what the models cannot compute is refused by name") {
  struct Case {
    const char *key, *value;
  };
  for (const auto& [key, value] : std::initializer_list<Case>{{"model_type", R"("gpt2")"},
                                                              {"model_type", ""},
                                                              {"rope_scaling", R"({"type":"linear"})"},
                                                              {"attention_bias", "true"},
                                                              {"mlp_bias", "true"},
                                                              {"hidden_act", R"("gelu")"},
                                                              {"use_sliding_window", "true"},
                                                              {"sliding_window", "4096"},
                                                              {"layer_types", R"(["sliding_attention"])"},
                                                              {"quantization_config", "{}"},
                                                              {"attention_dropout", "0.1"},
                                                              {"partial_rotary_factor", "0.5"},
                                                              {"hidden_size", "0"},
                                                              {"hidden_size", "32.5"},
                                                              {"hidden_size", "1e30"},
                                                              {"vocab_size", "-3"},
                                                              {"vocab_size", R"("40")"},
                                                              {"vocab_size", ""},
                                                              {"num_hidden_layers", "100000"},
                                                              {"num_key_value_heads", "3"},
                                                              {"head_dim", "7"},
                                                              {"rms_norm_eps", "-1"},
                                                              {"rope_theta", "0"},
                                                              {"tie_word_embeddings", "1"}}) {
    CAPTURE(key);
    CAPTURE(value);
    const auto result = parse_model_config(changed(key, value), "here/config.json");
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::invalid_input);
    CHECK(result.error().message.find(key) != std::string::npos);
    CHECK(result.error().message.starts_with("here/config.json"));
  }
}

TEST_CASE("text that is no configuration is an error and not a crash") {
  for (const auto& text : {std::string(), std::string("[]"), std::string("{"), std::string(3 << 20, ' '), std::string(1000, '[')}) {
    CHECK_FALSE(parse_model_config(text, "x"));
  }
  CHECK_FALSE(read_model_config("/nonexistent/config.json"));
}

TEST_CASE("the layout fills the flat array and agrees with the parameter count") {
  for (const bool is_tied : {true, false}) {
    for (const auto family : {ModelConfig::Family::llama, ModelConfig::Family::qwen3}) {
      auto config = small_config();
      config.tie_word_embeddings = is_tied;
      config.family = family;
      const auto layout = make_layout(config);
      CHECK(layout.total == parameter_count(config));
      std::int64_t at = 0;
      for (const auto& tensor : layout.tensors) {
        CHECK(tensor.offset == at);
        at += tensor.count;
      }
      CHECK(at == layout.total);
    }
  }
}
