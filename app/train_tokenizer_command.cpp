// pipestill train-tokenizer: a small vocabulary of one's own, from the texts of datasets.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "nodes/pretty_json.hpp"
#include "ports/dataset/conversation.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/text_file.hpp"
#include "ports/tokenizer/bpe_trainer.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVocabularyFile = "tokenizer.json";
constexpr const char* kVocabularyConfigFile = "tokenizer_config.json";

struct TrainTokenizerArguments {
  std::vector<std::string> data;
  std::string out;
  BpeTrainingOptions options;
};

/// What the texts came to.
struct TextTotal {
  std::uint64_t rows = 0, bytes = 0;
};

Result<void> add_texts(const std::string& path, BpeTrainer& trainer, TextTotal& total) {
  const auto dataset = open_dataset(path);
  if (!dataset) return fail(dataset.error());
  for (std::uint64_t index = 0; index < (*dataset)->size(); ++index) {
    const auto row = (*dataset)->row(index);
    if (!row) return fail(row.error());
    const auto conversation = prompt_conversation(*row);
    if (!conversation) return fail(conversation.error());
    for (const auto& message : *conversation) {
      const auto text = message.content.said();
      if (auto added = trainer.add(text); !added) return fail(added.error().code, row->where + ": " + added.error().message);
      total.bytes += text.size();
    }
    ++total.rows;
  }
  return {};
}

Result<void> write_vocabulary(const fs::path& directory, const BpeVocabulary& vocabulary) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail(ErrorCode::invalid_input, "cannot make the directory " + directory.string() + ": " + error.message());
  if (auto written = write_text_file(directory / kVocabularyFile, to_pretty_json(vocabulary.tokenizer) + "\n"); !written) return written;
  return write_text_file(directory / kVocabularyConfigFile, to_pretty_json(vocabulary.config) + "\n");
}

int run_train_tokenizer(const TrainTokenizerArguments& arguments) {
  const fs::path out(arguments.out);
  for (const auto* name : {kVocabularyFile, kVocabularyConfigFile}) {
    std::error_code ignored;
    if (fs::exists(out / name, ignored)) return report({ErrorCode::invalid_input, (out / name).string() + " is there already: name another directory for --out"});
  }
  auto trainer = BpeTrainer::make(arguments.options);
  if (!trainer) return report(trainer.error());
  TextTotal total;
  for (const auto& path : arguments.data) {
    if (auto added = add_texts(path, *trainer, total); !added) return report(added.error());
  }
  if (total.bytes == 0) return report({ErrorCode::invalid_input, "there is no text to train on in " + arguments.data.front() + (arguments.data.size() > 1 ? " and the others" : "")});
  const auto vocabulary = trainer->train();
  if (auto written = write_vocabulary(out, vocabulary); !written) return report(written.error());
  const auto loaded = Tokenizer::load(out.string());
  if (!loaded) return report({ErrorCode::internal, loaded.error().message});
  std::printf("%s: %zu tokens (%zu special, 256 bytes, %zu merges), from %llu bytes of text in %llu rows; fingerprint %s\n", (out / kVocabularyFile).c_str(),
              vocabulary.tokens, arguments.options.special_tokens.size(), vocabulary.merges, static_cast<unsigned long long>(total.bytes),
              static_cast<unsigned long long>(total.rows), (*loaded)->fingerprint().c_str());
  if (vocabulary.tokens < arguments.options.vocab_size) {
    std::fprintf(stderr, "pipestill: smaller than --size %zu: no further pair of tokens occurs %lld times\n", arguments.options.vocab_size,
                 static_cast<long long>(arguments.options.min_count));
  }
  return kDone;
}

}  // namespace

void add_train_tokenizer(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<TrainTokenizerArguments>();
  auto& command = *program.add_subcommand("train-tokenizer", "Make a small byte-level BPE vocabulary from the texts of datasets, for models that start from random weights");
  command.add_option("data", arguments->data, "Datasets (.jsonl, .jsonl.gz, .jsonl.zst): every message's text, or the prompt")->required();
  command.add_option("--out", arguments->out, "A directory for tokenizer.json and tokenizer_config.json")->required();
  command.add_option("--size", arguments->options.vocab_size, "Tokens of the vocabulary: special ones, 256 bytes, and the rest merged from them")->capture_default_str();
  command.add_option("--min-count", arguments->options.min_count, "A pair that occurs less often is not merged")->capture_default_str();
  command.add_option("--special-token", arguments->options.special_tokens, "A token of its own, with the next id from 0 on; may be given more than once (default: those of the renderer role_tokens)")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--eos-token", arguments->options.eos_token, "The special token that ends a text")->capture_default_str();
  command.footer("Example: pipestill train-tokenizer examples/tasks/data/teacher_train.jsonl --size 320 --out runs/vocabulary");
  command.callback([arguments, &action] { action = [arguments] { return run_train_tokenizer(*arguments); }; });
}

}  // namespace pipestill::app
