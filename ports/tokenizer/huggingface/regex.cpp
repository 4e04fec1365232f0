#include "ports/tokenizer/huggingface/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <new>

namespace pipestill::huggingface {
namespace {

struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

constexpr std::uint32_t kMatchLimit = 20'000'000;  // steps of one match; patterns in use need two a character at most
constexpr std::size_t kJitStackBytes = std::size_t{8} << 20;

/// What a thread matches with; grows to its limits once and is used for every pattern.
struct MatchSpace {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);

  MatchSpace() {
    if (!context || !data) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMatchLimit);
    if (stack) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  MatchSpace(const MatchSpace&) = delete;
  MatchSpace& operator=(const MatchSpace&) = delete;
  ~MatchSpace() {
    pcre2_match_data_free(data);
    if (stack) pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
};

MatchSpace& match_space() {
  thread_local MatchSpace space;
  return space;
}

}  // namespace

struct Regex::Code {
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  std::unique_ptr<pcre2_code, Free> pcre;
  bool has_jit = false;
};

Regex::Regex(std::string pattern, std::unique_ptr<Code> code) : pattern_(std::move(pattern)), code_(std::move(code)) {}
Regex::~Regex() = default;

Result<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern) {
  const auto translated = translate_regex(pattern);
  if (!translated) return fail(translated.error());
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 100);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_unique<Code>();
  // In Ruby's syntax ^ and $ stand at every line.
  code->pcre.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context.get()));
  if (!code->pcre) {
    std::array<PCRE2_UCHAR, 200> text{};
    pcre2_get_error_message(error, text.data(), text.size());
    return fail(ErrorCode::invalid_input, reinterpret_cast<const char*>(text.data()));
  }
  code->has_jit = pcre2_jit_compile(code->pcre.get(), PCRE2_JIT_COMPLETE) == 0;
  return std::shared_ptr<const Regex>(new Regex(std::string(pattern), std::move(code)));
}

Regex::Search Regex::find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const {
  auto& space = match_space();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data() ? text.data() : "");
  int rc = PCRE2_ERROR_JIT_STACKLIMIT;
  if (code_->has_jit) rc = pcre2_jit_match(code_->pcre.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, space.data, space.context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // or no JIT on this machine
    rc = pcre2_match(code_->pcre.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, space.data, space.context);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return Search::none;
  if (rc < 0) return Search::gave_up;
  const auto* ends = pcre2_get_ovector_pointer(space.data);
  begin = ends[0], end = ends[1];
  // A look-around around \K, which is not known here, could turn them round; nothing else can.
  return begin <= end ? Search::found : Search::gave_up;
}

}  // namespace pipestill::huggingface
