#pragma once
// pipestill-bench's scenarios, one a file. Each adds itself to the command line; main() runs the one that was named.
#include <CLI/CLI.hpp>
#include <functional>

namespace pipestill::bench {

using Action = std::function<int()>;  ///< the result is the exit status

void add_engine(CLI::App& program, Action& action);
void add_pipeline(CLI::App& program, Action& action);
void add_overlap(CLI::App& program, Action& action);
void add_dataset(CLI::App& program, Action& action);
void add_ledger(CLI::App& program, Action& action);
void add_store(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
// These compute on the embedded models.
void add_gemm(CLI::App& program, Action& action);
void add_sample(CLI::App& program, Action& action);
void add_train(CLI::App& program, Action& action);

}  // namespace pipestill::bench
