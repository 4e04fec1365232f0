#pragma once
// Which renderer a model was trained with, by the model's name.
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill {

struct RendererChoice {
  std::string name;
  std::string why;  ///< one sentence, for people to see what was chosen and by what
};

/// The first of the renderers that tinker-cookbook (commit 9dfcc3a2, model_info.py) recommends for `model`, a name `organisation/model`,
/// behind which `:checkpoint` is ignored. ErrorCode::invalid_input for a name of another form, an unknown organisation or model, and a
/// model whose renderer does not exist here: nothing is guessed.
[[nodiscard]] Result<RendererChoice> recommended_renderer(std::string_view model);

}  // namespace pipestill
