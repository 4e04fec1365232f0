#pragma once
// A tokenizer that stands in for a real vocabulary where only texts and special tokens matter.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ports/tokenizer/special_tokens.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill::test {

/// One token a byte, and the special and the added (not special) tokens that it is given, from 256 on. In plain text only added ones are
/// recognised, as Hugging Face's split_special_tokens has it.
class StandInTokenizer final : public Tokenizer {
 public:
  StandInTokenizer(std::vector<std::string> specials, std::vector<std::string> added, std::string bos = {}, std::string eos = {})
      : specials_(specials, 256),
        added_(added, 256 + static_cast<Token>(specials.size())),
        all_(joined(std::move(specials), std::move(added)), 256),
        bos_(std::move(bos)),
        eos_(std::move(eos)) {}

  [[nodiscard]] Result<std::vector<Token>> encode(std::string_view text, SpecialText special) const override {
    std::vector<Token> tokens;
    for (const auto& piece : (special == SpecialText::recognise ? all_ : added_).split(text)) {
      if (piece.special) {
        tokens.push_back(*piece.special);
      } else {
        for (const char c : piece.text) tokens.push_back(static_cast<unsigned char>(c));
      }
    }
    return tokens;
  }
  [[nodiscard]] Result<std::string> decode(std::span<const Token> tokens) const override {
    std::string text;
    for (const Token token : tokens) {
      if (token >= 0 && token < 256) {
        text.push_back(static_cast<char>(token));
      } else if (const auto* special = all_.text(token)) {
        text += *special;
      } else {
        return fail(ErrorCode::invalid_input, "token " + std::to_string(token) + " is outside the stand-in's vocabulary");
      }
    }
    return text;
  }
  [[nodiscard]] std::optional<Token> special_token(std::string_view text) const override { return specials_.find(text); }
  [[nodiscard]] std::optional<Token> bos() const override { return specials_.find(bos_); }
  [[nodiscard]] std::optional<Token> eos() const override { return specials_.find(eos_); }
  [[nodiscard]] std::size_t vocab_size() const override { return 256 + all_.texts().size(); }
  [[nodiscard]] std::string fingerprint() const override { return "stand-in"; }
  [[nodiscard]] Result<void> save(const std::filesystem::path&) const override { return {}; }

 private:
  static std::vector<std::string> joined(std::vector<std::string> a, std::vector<std::string> b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  SpecialTokens specials_, added_, all_;
  std::string bos_, eos_;
};

/// The tokens that the formats need, by the conformance data's name of the vocabulary ("mock" is Kimi's); null for an unknown one.
inline std::shared_ptr<const Tokenizer> stand_in_for(std::string_view vocabulary) {
  using Texts = std::vector<std::string>;
  if (vocabulary == "llama3") {
    return std::make_shared<StandInTokenizer>(
        Texts{"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, Texts{},
        "<|begin_of_text|>", "<|eot_id|>");
  }
  if (vocabulary == "qwen3") {
    return std::make_shared<StandInTokenizer>(
        Texts{"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
        Texts{"<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"}, "", "<|im_end|>");
  }
  if (vocabulary == "deepseek_v3") {
    return std::make_shared<StandInTokenizer>(
        Texts{"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"},
        Texts{"<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
              "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"},
        "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>");
  }
  if (vocabulary == "gpt-oss") {
    return std::make_shared<StandInTokenizer>(
        Texts{"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"}, Texts{}, "", "<|return|>");
  }
  if (vocabulary == "mock") {
    return std::make_shared<StandInTokenizer>(Texts{"<|im_system|>", "<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|im_end|>"},
                                              Texts{"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
                                                    "<|tool_call_argument_begin|>", "<|tool_call_end|>"},
                                              "", "<|im_end|>");
  }
  return nullptr;
}

}  // namespace pipestill::test
