#include "ports/embedded/model_config.hpp"

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <set>

#include "ports/embedded/model_layout.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxConfigBytes = 1 << 20;
constexpr std::int64_t kMaxParameters = 4'000'000'000;

std::string shown(const json::value& value) { return printable(json::serialize(value)); }

/// Reads keys of one object and keeps the first error. `prefix` stands before the keys' names in it.
class Reader {
 public:
  Reader(const json::object& object, const std::string& where, std::string prefix = {})
      : object_(object), where_(where), prefix_(std::move(prefix)) {}

  [[nodiscard]] const json::value* find(std::string_view key) const {
    const auto* value = object_.if_contains(key);
    return value && !value->is_null() ? value : nullptr;
  }

  int integer(std::string_view key, int low, int high, std::optional<int> fallback = std::nullopt) {
    const auto* value = find(key);
    if (!value) {
      if (!fallback) refuse(key, "is missing");
      return fallback.value_or(low);
    }
    json::error_code failed;
    const auto number = value->to_number<std::int64_t>(failed);
    if (failed || number < low || number > high || value->is_double()) {
      refuse(key,
             "is " + shown(*value) + "; an integer from " + std::to_string(low) + " to " + std::to_string(high) + " is accepted");
      return low;
    }
    return static_cast<int>(number);
  }

  double number(std::string_view key, double low, double high, std::optional<double> fallback) {
    const auto* value = find(key);
    if (!value) {
      if (!fallback) refuse(key, "is missing");
      return fallback.value_or(low);
    }
    json::error_code failed;
    const auto x = value->to_number<double>(failed);
    if (failed || !(x >= low && x <= high)) {
      refuse(key, "is " + shown(*value) + "; a number from " + json::serialize(json::value(low)) + " to " +
                      json::serialize(json::value(high)) + " is accepted");
      return low;
    }
    return x;
  }

  bool boolean(std::string_view key, bool fallback) {
    const auto* value = find(key);
    if (!value) return fallback;
    if (!value->is_bool()) refuse(key, "is " + shown(*value) + "; true or false is accepted");
    return value->is_bool() ? value->get_bool() : fallback;
  }

  std::string text(std::string_view key) {
    const auto* value = find(key);
    if (!value) return {};
    if (!value->is_string()) refuse(key, "is " + shown(*value) + "; a string is accepted");
    return value->is_string() ? std::string(value->get_string()) : std::string();
  }

  void refuse(std::string_view key, const std::string& why) {
    if (error_.empty()) error_ = where_ + ": \"" + prefix_ + printable(key) + "\" " + why;
  }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  const json::object& object_;
  const std::string& where_;
  std::string prefix_, error_;
};

/// Keys that are harmless only at one value.
void refuse_unsupported(Reader& in) {
  for (const auto* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    if (in.boolean(key, false)) in.refuse(key, "is true; the embedded models have none, only false is accepted");
  }
  if (const auto act = in.text("hidden_act"); !act.empty() && act != "silu")
    in.refuse("hidden_act", "is \"" + printable(act) + "\"; only \"silu\" is accepted");
  if (in.find("sliding_window") && !in.find("use_sliding_window")) {
    in.refuse("sliding_window", "is set; the embedded models attend to all positions, only null is accepted");
  }
  if (in.find("quantization_config")) in.refuse("quantization_config", "is set; only weights in F32, BF16 or F16 are accepted");
  if (in.number("attention_dropout", 0, 1, 0) != 0) in.refuse("attention_dropout", "is not 0; the embedded models have no dropout");
  if (in.number("partial_rotary_factor", 0, 1, 1) != 1)
    in.refuse("partial_rotary_factor", "is not 1; the embedded models rotate whole heads");
  if (const auto* types = in.find("layer_types"); types && types->is_array()) {
    for (const auto& type : types->get_array()) {
      if (type != "full_attention") in.refuse("layer_types", "has " + shown(type) + "; only \"full_attention\" is accepted");
    }
  }
}

struct Rope {
  std::optional<double> theta = std::nullopt;  ///< empty: not said here
  RopeScaling scaling = {};
};

/// "rope_scaling" or "rope_parameters". Every key must be known: one that is not might change the arithmetic.
Rope read_rope(Reader& in, const json::object& object) {
  Rope rope;
  const auto old_kind = in.text("type"), new_kind = in.text("rope_type");
  const auto kind = new_kind.empty() ? old_kind : new_kind;
  if (!old_kind.empty() && old_kind != kind)
    in.refuse("type", "is \"" + printable(old_kind) + "\", \"rope_type\" is \"" + printable(kind) + "\"; they must agree");
  std::set<std::string_view> known{"type", "rope_type", "rope_theta", "partial_rotary_factor"};
  if (kind == "linear" || kind == "llama3") {
    rope.scaling.kind = RopeScaling::Kind::linear;
    rope.scaling.factor = in.number("factor", 1, 1e6, std::nullopt);
    known.insert("factor");
  } else if (!kind.empty() && kind != "default") {
    in.refuse(new_kind.empty() ? "type" : "rope_type", "is \"" + printable(kind) + "\"; \"default\", \"linear\" or \"llama3\" is accepted");
  }
  if (kind == "llama3") {
    rope.scaling.kind = RopeScaling::Kind::llama3;
    rope.scaling.low_freq_factor = in.number("low_freq_factor", 1e-6, 1e6, std::nullopt);
    rope.scaling.high_freq_factor = in.number("high_freq_factor", 1e-6, 1e6, std::nullopt);
    if (rope.scaling.high_freq_factor <= rope.scaling.low_freq_factor) in.refuse("high_freq_factor", "is not above \"low_freq_factor\"");
    rope.scaling.original_max_position_embeddings = in.integer("original_max_position_embeddings", 1, 1 << 30);
    known.insert({"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
  }
  if (in.find("rope_theta")) rope.theta = in.number("rope_theta", 1, 1e12, std::nullopt);
  if (in.number("partial_rotary_factor", 0, 1, 1) != 1)
    in.refuse("partial_rotary_factor", "is not 1; the embedded models rotate whole heads");
  for (const auto& [key, value] : object) {
    if (!value.is_null() && !known.contains(key))
      in.refuse(key, "is set, which rotary positions of type \"" + (kind.empty() ? "default" : printable(kind)) + "\" do not have");
  }
  return rope;
}

/// The base and the scaling, by the old keys or by the new one.
Result<void> read_rotary(Reader& in, const std::string& where, ModelConfig& config) {
  config.rope_theta = in.number("rope_theta", 1, 1e12, 10000);
  std::optional<Rope> found;
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    const auto* value = in.find(key);
    if (!value) continue;
    if (!value->is_object()) {
      in.refuse(key, "is not an object");
      continue;
    }
    Reader inner(value->get_object(), where, key + ".");
    const auto rope = read_rope(inner, value->get_object());
    if (!inner.error().empty()) return fail(ErrorCode::invalid_input, inner.error());
    if (found && found->scaling != rope.scaling) in.refuse(key, "says something else than \"rope_scaling\"; one of the two is enough");
    if (rope.theta) config.rope_theta = *rope.theta;  // Hugging Face's precedence
    config.rope_scaling = rope.scaling;
    found = rope;
  }
  return {};
}

json::object rope_to_json(const RopeScaling& scaling) {
  if (scaling.kind == RopeScaling::Kind::linear) return {{"rope_type", "linear"}, {"factor", scaling.factor}};
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", scaling.low_freq_factor},
          {"high_freq_factor", scaling.high_freq_factor},
          {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
}

}  // namespace

Result<ModelConfig> parse_model_config(std::string_view text, const std::string& where) {
  if (text.size() > kMaxConfigBytes) return fail(ErrorCode::invalid_input, where + " is larger than 1 MiB, which no config.json is");
  const auto root = parse_strict_json(text, where);
  if (!root) return fail(root.error());
  if (!root->is_object()) return fail(ErrorCode::invalid_input, where + " is not a JSON object");

  Reader in(root->get_object(), where);
  ModelConfig c;
  const auto type = in.text("model_type");
  if (type == "qwen3") {
    c.family = ModelConfig::Family::qwen3;
  } else if (type != "llama") {
    in.refuse("model_type",
              type.empty() ? "is missing; \"llama\" or \"qwen3\" is accepted" : "is \"" + printable(type) + "\"; \"llama\" or \"qwen3\" is accepted");
  }
  refuse_unsupported(in);
  c.vocab_size = in.integer("vocab_size", 2, 1 << 20);
  c.hidden_size = in.integer("hidden_size", 8, 1 << 15);
  c.num_hidden_layers = in.integer("num_hidden_layers", 1, 256);
  c.num_attention_heads = in.integer("num_attention_heads", 1, 512);
  c.num_key_value_heads = in.integer("num_key_value_heads", 1, 512, c.num_attention_heads);
  if (in.find("head_dim") || c.family == ModelConfig::Family::qwen3) {
    c.head_dim = in.integer("head_dim", 2, 1024, 128);  // qwen3's own default
  } else if (c.hidden_size % c.num_attention_heads == 0) {
    c.head_dim = c.hidden_size / c.num_attention_heads;
  } else {
    in.refuse("hidden_size", "is no multiple of \"num_attention_heads\", and \"head_dim\" is missing");
  }
  c.intermediate_size = in.integer("intermediate_size", 1, 1 << 18);
  c.max_position_embeddings = in.integer("max_position_embeddings", 1, 1 << 20);
  c.rms_norm_eps = in.number("rms_norm_eps", 0, 1, 1e-6);
  c.tie_word_embeddings = in.boolean("tie_word_embeddings", false);
  if (auto rotary = read_rotary(in, where, c); !rotary) return fail(std::move(rotary.error()));
  if (c.num_attention_heads % c.num_key_value_heads != 0) in.refuse("num_key_value_heads", "does not divide \"num_attention_heads\"");
  if (c.head_dim % 2 != 0) in.refuse("head_dim", "is odd; rotary positions need an even one");
  if (!in.error().empty()) return fail(ErrorCode::invalid_input, in.error());
  if (parameter_count(c) > kMaxParameters) {
    return fail(ErrorCode::invalid_input, where + " describes " + std::to_string(parameter_count(c)) +
                                              " parameters; the embedded models stop at " + std::to_string(kMaxParameters));
  }
  return c;
}

Result<ModelConfig> read_model_config(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(ErrorCode::invalid_input, "cannot open the model configuration " + file.string());
  std::string text(kMaxConfigBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof())) return fail(ErrorCode::invalid_input, "cannot read the model configuration " + file.string());
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse_model_config(text, file.string());
}

std::string to_json(const ModelConfig& c) {
  const bool is_qwen = c.family == ModelConfig::Family::qwen3;
  json::object root{
      {"architectures", json::array{is_qwen ? "Qwen3ForCausalLM" : "LlamaForCausalLM"}},
      {"model_type", is_qwen ? "qwen3" : "llama"},
      {"vocab_size", c.vocab_size},
      {"hidden_size", c.hidden_size},
      {"num_hidden_layers", c.num_hidden_layers},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"head_dim", c.head_dim},
      {"intermediate_size", c.intermediate_size},
      {"max_position_embeddings", c.max_position_embeddings},
      {"rms_norm_eps", c.rms_norm_eps},
      {"rope_theta", c.rope_theta},
      {"tie_word_embeddings", c.tie_word_embeddings},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"torch_dtype", "float32"},
  };
  if (c.rope_scaling.kind != RopeScaling::Kind::none) root["rope_scaling"] = rope_to_json(c.rope_scaling);
  std::string text = "{\n";
  for (auto it = root.begin(); it != root.end(); ++it) {
    text += "  " + json::serialize(json::value(it->key())) + ": " + json::serialize(it->value()) + (it + 1 == root.end() ? "\n" : ",\n");
  }
  return text + "}\n";
}

std::int64_t parameter_count(const ModelConfig& config) {
  const std::int64_t d = config.hidden_size, heads = config.num_attention_heads, kv = config.num_key_value_heads, hd = config.head_dim;
  const std::int64_t attention = (2 * heads + 2 * kv) * hd * d + (config.has_head_norms() ? 2 * hd : 0);
  const std::int64_t layer = attention + 3 * d * config.intermediate_size + 2 * d;
  return (config.tie_word_embeddings ? 1 : 2) * config.vocab_size * d + config.num_hidden_layers * layer + d;
}

}  // namespace pipestill
