#pragma once
// The program's commands, one a file. Each adds itself to the command line; main() runs the one that was named.
#include <CLI/CLI.hpp>
#include <functional>

namespace pipestill::app {

/// What a command does once its arguments are parsed; the result is the exit status.
using Action = std::function<int()>;

void add_run(CLI::App& program, Action& action);
void add_check(CLI::App& program, Action& action);
void add_describe(CLI::App& program, Action& action);
void add_order(CLI::App& program, Action& action);
void add_render(CLI::App& program, Action& action);
void add_eval(CLI::App& program, Action& action);
void add_diff(CLI::App& program, Action& action);
void add_audit(CLI::App& program, Action& action);
void add_store(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
void add_train_tokenizer(CLI::App& program, Action& action);

}  // namespace pipestill::app
