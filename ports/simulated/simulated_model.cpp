#include "ports/simulated/simulated_model.hpp"

#include <algorithm>
#include <bit>
#include <boost/algorithm/hex.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <pcg_random.hpp>
#include <system_error>

#include "ports/durable_file.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::uint64_t word_of(const Sha256Digest& digest, std::size_t index) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word = word << 8 | digest[8 * index + i];
  return word;
}

/// The tokens so far, as one number.
class Context {
 public:
  Context(const Sha256Digest& state, int vocab_size) : hash_(word_of(state, 0)), log_vocab_(std::log(static_cast<double>(vocab_size))) {}
  void append(Token token) { hash_ = mix(hash_ ^ static_cast<std::uint32_t>(token)); }
  [[nodiscard]] float logprob(Token token) const {
    const std::uint64_t bits = mix(hash_ + static_cast<std::uint32_t>(token)) >> 11;
    return static_cast<float>(-(log_vocab_ + 2 * (static_cast<double>(bits) * 0x1p-53)));
  }

 private:
  std::uint64_t hash_;
  double log_vocab_;
};

std::string_view bytes_of(std::span<const Token> tokens) { return {reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()}; }

pcg64 random_of(const Sha256Digest& state, std::span<const Token> prompt, const SamplingParams& params) {
  Sha256 hash;
  hash.field(digest_bytes(state)).field(bytes_of(prompt));
  hash.number(static_cast<std::uint64_t>(params.max_tokens)).number(std::bit_cast<std::uint64_t>(params.temperature));
  hash.number(static_cast<std::uint64_t>(params.top_k)).number(std::bit_cast<std::uint64_t>(params.top_p)).number(params.temperature == 0 ? 0 : params.seed);
  hash.number(params.stop.index());
  if (const auto* texts = std::get_if<std::vector<std::string>>(&params.stop)) {
    for (const auto& text : *texts) hash.field(text);
  }
  if (const auto* tokens = std::get_if<std::vector<Token>>(&params.stop)) hash.field(bytes_of(*tokens));
  const Sha256Digest digest = hash.finish();
  const auto pair = [&](std::size_t i) { return pcg64::state_type(word_of(digest, i)) << 64 | word_of(digest, i + 1); };
  return pcg64(pair(0), pair(2));
}

Result<Sha256Digest> parse_digest(const json::object& object, const char* key, const std::string& place) {
  const json::value* value = object.if_contains(key);
  const json::string* text = value ? value->if_string() : nullptr;
  Sha256Digest digest;
  if (text && text->size() == 2 * digest.size()) {
    try {
      boost::algorithm::unhex(text->begin(), text->end(), digest.begin());
      return digest;
    } catch (const boost::algorithm::hex_decode_error&) {  // said below
    }
  }
  return fail(ErrorCode::invalid_input, place + ": the key \"" + key + "\" must be 64 hexadecimal digits");
}

}  // namespace

SampledSequence SimulatedModel::sample(std::span<const Token> prompt, const SamplingParams& params) const {
  pcg64 random = random_of(state_, prompt, params);
  const auto* stops = std::get_if<std::vector<Token>>(&params.stop);
  const bool has_stop_token = stops && !stops->empty();
  const auto is_stop = [&](Token token) { return has_stop_token && std::find(stops->begin(), stops->end(), token) != stops->end(); };
  // Something is said before the stop token where max_tokens leaves room for both: an empty answer is a fault, and faults have an option of their own.
  const auto longest = static_cast<std::uint64_t>(std::max(params.max_tokens, 1));
  const auto shortest = std::min<std::uint64_t>(has_stop_token ? 2 : 1, longest);
  const auto length = shortest + random() % (longest - shortest + 1);
  const auto vocab_size = static_cast<std::uint64_t>(vocab_size_);

  // In a vocabulary of bytes these are the visible characters: a renderer takes spaces away, and an answer of nothing else would be empty.
  const std::uint64_t first = vocab_size >= 127 ? 33 : 0, choices = vocab_size >= 127 ? 94 : vocab_size;

  SampledSequence answer;
  while (answer.tokens.size() + (has_stop_token ? 1 : 0) < length) {
    std::uint64_t token = first + random() % choices;
    for (std::uint64_t tried = 0; is_stop(static_cast<Token>(token)) && tried < vocab_size; ++tried) token = (token + 1) % vocab_size;
    if (is_stop(static_cast<Token>(token))) break;  // a vocabulary of nothing but stop tokens
    answer.tokens.push_back(static_cast<Token>(token));
  }
  if (has_stop_token) answer.tokens.push_back(stops->front());
  answer.stop_reason = has_stop_token || length < static_cast<std::uint64_t>(params.max_tokens) ? StopReason::stop : StopReason::length;

  Context context(state_, vocab_size_);
  for (const Token token : prompt) context.append(token);
  for (const Token token : answer.tokens) {
    answer.logprobs.emplace_back(context.logprob(token));
    context.append(token);
  }
  return answer;
}

Score SimulatedModel::score(std::span<const Token> tokens, int top_k) const {
  Score score;
  Context context(state_, vocab_size_);
  const auto count = static_cast<std::size_t>(std::clamp(top_k, 0, vocab_size_));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    score.own.push_back(i == 0 ? Logprob{} : Logprob{context.logprob(tokens[i])});
    auto& top = score.top.emplace_back();
    if (count > 0 && i > 0) {
      for (Token token = 0; token < vocab_size_; ++token) top.emplace_back(token, context.logprob(token));
      std::partial_sort(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(count), top.end(),
                        [](const auto& a, const auto& b) { return a.second != b.second ? a.second > b.second : a.first < b.first; });
      top.resize(count);
    }
    context.append(tokens[i]);
  }
  return score;
}

Result<SimulatedState> SimulatedState::load(const std::filesystem::path& directory) {
  const std::string place = (directory / kFileName).string();
  const auto text = read_text_file(place);
  if (!text) return fail(text.error());
  const auto document = parse_strict_json(*text, place);
  if (!document) return fail(document.error());
  const json::object* object = document->if_object();
  if (!object) return fail(ErrorCode::invalid_input, place + ": expected a JSON object");
  SimulatedState state;
  const auto weights = parse_digest(*object, "weights", place);
  if (!weights) return fail(weights.error());
  state.weights = *weights;
  if (const json::value* gradient = object->if_contains("gradient"); gradient && !gradient->is_null()) {
    const auto digest = parse_digest(*object, "gradient", place);
    if (!digest) return fail(digest.error());
    state.gradient = *digest;
  }
  const json::value* steps = object->if_contains("optim_steps");
  if (!steps || !steps->is_int64() || steps->get_int64() < 0) {
    return fail(ErrorCode::invalid_input, place + ": the key \"optim_steps\" must be a whole number that is not negative");
  }
  state.optim_steps = static_cast<std::uint64_t>(steps->get_int64());
  return state;
}

Result<void> SimulatedState::save(const std::filesystem::path& directory) const {
  json::object object{{"type", "simulated"}, {"weights", to_hex(weights)}, {"gradient", nullptr}, {"optim_steps", optim_steps}};
  if (gradient) object["gradient"] = to_hex(*gradient);
  return write_file_atomically(directory / kFileName, json::serialize(object) + "\n");
}

Result<SimulatedState> SimulatedState::open(const ModelRef& model, std::uint64_t seed) {
  if (!model.checkpoint_path.empty()) return load(model.checkpoint_path);
  std::error_code ec;
  if (std::filesystem::exists(std::filesystem::path(model.model) / kFileName, ec)) return load(model.model);
  return SimulatedState{.weights = Sha256().field("pipestill simulated weights").field(model.model).number(seed).finish()};
}

}  // namespace pipestill
