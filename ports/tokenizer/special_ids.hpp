#pragma once
// The first and the last token of a text, as the files beside tokenizer.json name them.
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill {

struct SpecialIds {
  std::optional<Token> bos = {}, eos = {};
};

/// As transformers resolves them: `bos_token` and `eos_token` (a text, an object with `content`, or null: none) of tokenizer_config.json, else of
/// special_tokens_map.json; where neither names the key, `bos_token_id` and `eos_token_id` (an id, or a list: its first) of generation_config.json,
/// else of config.json. Files may be missing. `find` gives the id of a token's text; a text that no token has is none.
/// ErrorCode::invalid_input, naming file and key, for files that are not JSON and values of another kind.
[[nodiscard]] Result<SpecialIds> read_special_ids(const std::filesystem::path& directory, const std::function<std::optional<Token>(std::string_view)>& find);

}  // namespace pipestill
