#include "bench/made_texts.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

namespace pipestill::bench {
namespace {

/// splitmix64 (Steele, Lea, Flood 2014).
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
  /// A rank below n, about as often as one over it: 0, then 1 and 2, then 3 to 6, ... are equally likely, the last of these in proportion to what n
  /// leaves of it. Whole numbers, which are the same everywhere, as exp and log are not.
  std::size_t rank(std::size_t n) {
    for (;;) {
      const auto octave = std::size_t{1} << below(static_cast<std::size_t>(std::bit_width(n)));
      const auto rank = octave - 1 + below(octave);
      if (rank < n) return rank;
    }
  }
  template <class List>
  const auto& of(const List& list) { return list[below(list.size())]; }

 private:
  std::uint64_t state_;
};

constexpr std::array<std::string_view, 60> kFrequent{"the", "of", "and", "to", "a", "in", "is", "it", "that", "was", "for", "on", "are", "as", "with",
  "his", "they", "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but", "not", "what", "all", "were", "we", "when", "your", "can",
  "said", "there", "use", "an", "each", "which", "she", "do", "how", "their", "if", "will", "up", "other", "about", "out", "many", "then", "them", "these",
  "so", "some", "her", "would"};
constexpr std::array<std::string_view, 28> kBegins{"con", "de", "re", "in", "pro", "un", "ex", "dis", "com", "pre", "sub", "inter", "trans", "over", "st", "br",
  "cl", "gr", "pl", "sh", "th", "wh", "m", "s", "t", "l", "b", "f"};
constexpr std::array<std::string_view, 24> kMiddles{"a", "e", "i", "o", "u", "ea", "oo", "ai", "ar", "er", "or", "an", "en", "in", "on", "ist", "act", "ect",
  "our", "ow", "ight", "ound", "ell", "ast"};
constexpr std::array<std::string_view, 22> kEnds{"", "s", "ed", "ing", "er", "tion", "ment", "ness", "ly", "able", "al", "ous", "ive", "ity", "ence", "ship",
  "ful", "ist", "ate", "ure", "y", "t"};

std::vector<std::string> words_of(Draws& draws, std::size_t count) {
  std::vector<std::string> words(kFrequent.begin(), kFrequent.end());
  while (words.size() < count) {
    std::string word(draws.of(kBegins));
    for (std::size_t i = 1 + draws.below(2); i > 0; --i) word += draws.of(kMiddles);
    words.push_back(word.append(draws.of(kEnds)));
  }
  return words;
}

std::string prose(std::size_t bytes) {
  Draws draws(1);
  const auto words = words_of(draws, 20'000);
  std::string text;
  while (text.size() < bytes) {
    for (std::size_t sentence = 3 + draws.below(5); sentence > 0; --sentence) {
      std::string line;
      for (std::size_t i = 4 + draws.below(18); i > 0; --i) {
        if (!line.empty()) line += draws.below(12) == 0 ? ", " : " ";
        line += draws.below(60) == 0 ? std::to_string(draws.below(3000)) : words[draws.rank(words.size())];
        if (draws.below(90) == 0) line += "'s";
      }
      line[0] = static_cast<char>(line[0] >= 'a' && line[0] <= 'z' ? line[0] - 'a' + 'A' : line[0]);
      text += line + (draws.below(8) == 0 ? "? " : ". ");
    }
    text.back() = '\n';
    if (draws.below(3) == 0) text += '\n';
  }
  return text;
}

std::string code(std::size_t bytes) {
  Draws draws(2);
  const auto words = words_of(draws, 3'000);
  const auto name = [&] {
    std::string joined = words[draws.rank(words.size())];
    for (std::size_t i = draws.below(3); i > 0; --i) joined += "_" + words[draws.rank(words.size())];
    return joined;
  };
  std::string text;
  while (text.size() < bytes) {
    text += "static int " + name() + "(const struct " + name() + " *" + name() + ", size_t n) {\n";
    std::string indent = "    ";
    for (std::size_t i = 3 + draws.below(12); i > 0; --i) {
      switch (draws.below(6)) {
        case 0:
          text += indent + "for (size_t i = 0; i < n; ++i) {\n";
          indent += "    ";
          break;
        case 1: text += indent + "if (" + name() + "->" + name() + " != " + std::to_string(draws.below(1000)) + ") return -1;\n"; break;
        case 2: text += indent + name() + "[i] += " + name() + " * 0x" + std::string(1, "0123456789abcdef"[draws.below(16)]) + "f;  // " + name() + "\n"; break;
        case 3: text += indent + "printf(\"%s: %d\\n\", " + name() + ", " + name() + ");\n"; break;
        case 4: text += indent + name() + " = " + name() + "(" + name() + ", &" + name() + ");\n"; break;
        default:
          if (indent.size() > 4) {
            indent.resize(indent.size() - 4);
            text += indent + "}\n";
          }
      }
    }
    while (indent.size() > 4) {
      indent.resize(indent.size() - 4);
      text += indent + "}\n";
    }
    text += "    return 0;\n}\n\n";
  }
  return text;
}

void append_code(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xc0 | (c >> 6));
    text += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    text += static_cast<char>(0xe0 | (c >> 12));
    text += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    text += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    text += static_cast<char>(0xf0 | (c >> 18));
    text += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    text += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    text += static_cast<char>(0x80 | (c & 0x3f));
  }
}

std::string scripts(std::size_t bytes) {
  struct Script {
    char32_t first;
    std::size_t letters, longest;  ///< characters of a word
    bool has_spaces;
  };
  // Cyrillic, Greek, Arabic, Devanagari, Hangul, Hiragana, Han, Latin with accents, emoji.
  static constexpr std::array<Script, 9> kScripts{{{0x430, 32, 10, true}, {0x3b1, 25, 9, true}, {0x627, 36, 8, true}, {0x905, 53, 7, true}, {0xac00, 11172, 4, true},
    {0x3041, 83, 6, false}, {0x4e00, 6000, 3, false}, {0xe0, 24, 8, true}, {0x1f600, 68, 2, true}}};
  Draws draws(3);
  std::string text;
  while (text.size() < bytes) {
    const auto& script = draws.of(kScripts);
    for (std::size_t word = 10 + draws.below(20); word > 0; --word) {
      for (std::size_t i = 1 + draws.below(script.longest); i > 0; --i) append_code(text, script.first + static_cast<char32_t>(draws.rank(script.letters)));
      if (script.has_spaces) text += ' ';
      if (draws.below(15) == 0) text += script.has_spaces ? ", " : "、";
    }
    text += script.has_spaces ? ".\n" : "。\n";
  }
  return text;
}

std::string repeated(std::string_view unit, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

}  // namespace

std::vector<MadeText> made_texts(std::size_t bytes) { return {{"English", prose(bytes)}, {"code", code(bytes)}, {"multilingual", scripts(bytes)}}; }

std::vector<std::string> documents_of(const std::string& text, std::size_t bytes) {
  std::vector<std::string> documents;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto line_end = begin + bytes < text.size() ? text.find('\n', begin + bytes) : std::string::npos;
    const auto end = line_end == std::string::npos ? text.size() : line_end + 1;
    documents.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return documents;
}

std::vector<WorstText> worst_texts() {
  const auto one = [](std::string unit) { return [unit = std::move(unit)](std::size_t bytes) { return repeated(unit, bytes); }; };
  return {{"one letter", one("a")},
          {"one capital letter", one("A")},
          {"spaces", one(" ")},
          {"spaces, then a letter", [](std::size_t bytes) { return repeated(" ", bytes - 1) + "a"; }},
          {"line ends and spaces", one(" \n")},
          {"digits", one("7")},
          {"punctuation", one("<|")},
          {"Han", one("漢字")},
          {"combining marks", [](std::size_t bytes) { return "e" + repeated("\xcc\xa3\xcc\x81", bytes - 1); }},
          {"letters without pattern", [](std::size_t bytes) {
             Draws draws(4);
             std::string text(bytes, ' ');
             for (auto& c : text) c = static_cast<char>('a' + draws.below(26));
             return text;
           }}};
}

}  // namespace pipestill::bench
