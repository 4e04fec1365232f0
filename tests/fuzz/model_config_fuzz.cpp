// A model's config.json.
#include <string>
#include <string_view>

#include "ports/embedded/model_config.hpp"
#include "ports/embedded/model_layout.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace pipestill;
using pipestill::fuzz::require;

PIPESTILL_FUZZ_TARGET(model_config) {
  const auto config = parse_model_config({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!config) {
    fuzz::require_sound_refusal(config.error());
    return 0;
  }
  const auto again = parse_model_config(to_json(*config), "config.json");
  require(again.has_value(), again ? "" : "a written configuration is accepted: " + again.error().message);
  require(*again == *config, "a configuration survives being written and read");

  require(config->head_dim % 2 == 0 && config->num_attention_heads % config->num_key_value_heads == 0, "heads can be computed");
  const auto layout = make_layout(*config);
  std::int64_t at = 0;
  for (const auto& tensor : layout.tensors) {
    require(tensor.offset == at && tensor.count > 0, "tensors lie side by side");
    at += tensor.count;
  }
  require(at == layout.total && at == parameter_count(*config), "the layout has every parameter");
  return 0;
}
