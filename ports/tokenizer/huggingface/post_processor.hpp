#pragma once
// tokenizer.json's "post_processor", as far as it adds tokens: those before and behind a text.
#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "ports/tokenizer/huggingface/json_place.hpp"
#include "ports/types.hpp"

namespace pipestill::huggingface {

struct PostProcessor {
  std::vector<Token> before = {}, behind = {};

  /// TemplateProcessing (its "single"), RobertaProcessing, BertProcessing, ByteLevel (adds nothing), and sequences of them.
  [[nodiscard]] static Result<PostProcessor> parse(const boost::json::value& value, const JsonPlace& place);
};

}  // namespace pipestill::huggingface
