// Models that other programs wrote: what transformers saves, and weights in half precision.
#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <cmath>
#include <sstream>

#include "ports/embedded/safetensors.hpp"
#include "ports/renderer/renderer.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

namespace json = boost::json;

/// Round to nearest, ties to even; finite numbers alone.
std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// The file with every tensor in bfloat16, and what its numbers then are, laid out as `layout`.
std::vector<float> rewrite_as_bf16(const std::filesystem::path& from, const std::filesystem::path& to, const ModelLayout& layout) {
  std::vector<float> flat(static_cast<std::size_t>(layout.total));
  REQUIRE(read_tensors(value_of(SafetensorsFile::open(from)), layout, flat));
  json::object header;
  std::string data;
  for (const auto& place : layout.tensors) {
    const auto begin = data.size();
    for (auto i = place.offset; i < place.offset + place.count; ++i) {
      auto& x = flat[static_cast<std::size_t>(i)];
      const auto half = to_bf16(x);
      data += static_cast<char>(half & 0xff);
      data += static_cast<char>(half >> 8);
      x = std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
    }
    header[place.name] = {{"dtype", "BF16"}, {"shape", json::value_from(place.shape)}, {"data_offsets", {begin, data.size()}}};
  }
  const auto text = json::serialize(header);
  std::string file;
  for (std::size_t i = 0, n = text.size(); i < 8; ++i, n >>= 8) file += static_cast<char>(n & 0xff);
  write_text(to, file + text + data);
  return flat;
}

/// Exercises of the example's tasks, and their answers.
std::vector<std::pair<std::string, std::string>> exercises() {
  std::vector<std::pair<std::string, std::string>> rows{{"date 1986-08-13", "13 aug 1986"}, {"date 2003-12-30", "30 dec 2003"}};
  for (int i = 0; i < 60; ++i) {
    std::string word, digits;
    for (int k = 0; k < 3 + i % 4; ++k) {
      word += static_cast<char>('a' + (i * 7 + k * (3 + i) + k * k * 5) % 26);
      digits += static_cast<char>('0' + (i * 3 + k * (1 + i) + k * k) % 10);
    }
    rows.emplace_back("reverse " + word, std::string(word.rbegin(), word.rend()));
    auto sorted = digits;
    std::sort(sorted.begin(), sorted.end());
    rows.emplace_back("sort " + digits, sorted);
  }
  return rows;
}

int right_answers(const std::filesystem::path& model) {
  const auto tokenizer = value_of(Tokenizer::load(model.string()));
  const auto renderer = value_of(Renderer::make("role_tokens", tokenizer));
  const auto session = open_teacher(model.string());
  std::vector<SampleRequest> requests;
  for (const auto& [question, answer] : exercises()) {
    auto prompt = value_of(renderer->build_generation_prompt({{"user", question}}));
    requests.push_back({std::move(prompt), {.max_tokens = 28, .temperature = 0, .stop = renderer->stop_sequences()}});
  }
  const auto answers = sample_all(*session, std::move(requests));
  int right = 0;
  for (std::size_t i = 0; i < answers.size(); ++i)
    right += value_of(renderer->parse_response(value_of(answers[i]).tokens)).message.content.said() == exercises()[i].second;
  return right;
}

}  // namespace

TEST_CASE("models that transformers saved give the log-probabilities and the greedy answers that it gives") {
  // Written by tests/oracles/compare_transformers.py --write.
  int models = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(PIPESTILL_SOURCE_DIR) / "tests/ports/embedded/transformers")) {
    CAPTURE(entry.path());
    ++models;
    CHECK(make_torch_sampling_client({}).value()->check({entry.path().string(), ""}));
    const auto session = open_teacher(entry.path().string());
    std::istringstream lines(read_text(entry.path() / "expected.jsonl"));
    int rows = 0;
    double worst = 0;
    for (std::string line; std::getline(lines, line); ++rows) {
      const auto expected = json::parse(line).as_object();
      const auto tokens = json::value_to<std::vector<Token>>(expected.at("tokens"));
      const auto score = value_of(await<Score>([&](auto done) { session->compute_logprobs({tokens, 0}, {}, done); }));
      const auto& logprobs = expected.at("logprobs").as_array();
      REQUIRE(score.own.size() == logprobs.size());
      CHECK(logprobs[0].is_null());
      CHECK_FALSE(score.own[0]);
      for (std::size_t i = 1; i < logprobs.size(); ++i)
        worst = std::max(worst, std::abs(logprobs[i].to_number<double>() - static_cast<double>(score.own[i].value())));
      const auto greedy = json::value_to<std::vector<Token>>(expected.at("greedy"));
      const auto answer = value_of(
          sample_one(*session, {ModelInput::from_ints(tokens), {.max_tokens = static_cast<int>(greedy.size()), .temperature = 0}}));
      CHECK(answer.tokens == greedy);
    }
    CHECK(rows == 4);
    CHECK(worst < 1e-5);
  }
  CHECK(models == 4);
}

TEST_CASE("the example's teacher in bfloat16 has exactly the rounded numbers, and still answers its tasks") {
  const TemporaryDirectory directory;
  const auto teacher = shipped_teacher();
  for (const auto* name : {"config.json", "chars.json"}) std::filesystem::copy_file(teacher / name, directory.path() / name);
  const auto layout = make_layout(value_of(read_model_config(teacher / "config.json")));
  const auto rounded = rewrite_as_bf16(teacher / "model.safetensors", directory.path() / "model.safetensors", layout);

  std::vector<float> loaded(rounded.size());
  REQUIRE(read_tensors(value_of(SafetensorsFile::open(directory.path() / "model.safetensors")), layout, loaded));
  CHECK(loaded == rounded);
  // A student that is opened and written out again has the same numbers, in float32.
  const auto student = open_student(directory.path().string());
  CHECK(digest(*student) == weights_digest(tensor_views(layout, rounded)));

  const auto asked = static_cast<int>(exercises().size());
  const int full = right_answers(teacher), half = right_answers(directory.path());
  MESSAGE("right answers of " << asked << ": " << full << " in float32, " << half << " in bfloat16");
  CHECK(full >= asked * 97 / 100);
  CHECK(half >= asked * 97 / 100);
}
