#pragma once
// Texts for tokenizers to be measured on, made here and the same every time: no text of other people's.
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace pipestill::bench {

struct MadeText {
  std::string name, text;
};
/// English-like prose, program code, and a mix of scripts; each of about `bytes` bytes of UTF-8, in lines. Words come as often as their rank
/// lets them (Zipf's law), so that caches meet what they meet in real texts.
[[nodiscard]] std::vector<MadeText> made_texts(std::size_t bytes);

/// Cut at line ends into documents of at least `bytes` bytes.
[[nodiscard]] std::vector<std::string> documents_of(const std::string& text, std::size_t bytes);

/// Texts that make careless tokenizers slow.
struct WorstText {
  std::string name;
  std::function<std::string(std::size_t bytes)> make;
};
[[nodiscard]] std::vector<WorstText> worst_texts();

}  // namespace pipestill::bench
