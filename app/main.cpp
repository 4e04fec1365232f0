// pipestill: arguments, progress line, exit codes. What it does stands in nodes/.
#include <cstdio>
#include <exception>
#include <optional>
#include <string>

#include "app/commands.hpp"
#include "app/exit_status.hpp"

namespace pipestill::app {

int report(const Error& error) {
  std::fprintf(stderr, "pipestill: %s\n", error.message.c_str());
  return exit_status(error.code);
}

namespace {

/// The first word, where it is no command: CLI11 would only say that a command is missing.
std::optional<std::string> unknown_command(const CLI::App& program, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return std::nullopt;
  std::string commands;
  for (const auto* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->check_name(argv[1])) return std::nullopt;
    commands += (commands.empty() ? "" : ", ") + command->get_name();
  }
  return "there is no command \"" + std::string(argv[1]) + "\", only " + commands;
}

int run_program(int argc, char** argv) {
  CLI::App program("Distils language models: a teacher's sampling of the next batch overlaps the student's training on this one,\n"
                   "and the result is the same to the last bit as if nothing had overlapped.",
                   "pipestill");
  program.footer("Exit status: 0 done; 1 diff, audit or store found a difference; 2 your input is wrong; 3 a backend failed; 4 an internal error; 130 stopped.\n"
                 "Example: pipestill run examples/tasks/distill.json --out runs/first");
  program.set_version_flag("--version", PIPESTILL_VERSION);
  program.require_subcommand(1);
  Action action;
  add_run(program, action);
  add_check(program, action);
  add_describe(program, action);
  add_order(program, action);
  add_render(program, action);
  add_eval(program, action);
  add_diff(program, action);
  add_audit(program, action);
  add_store(program, action);
  add_tokenize(program, action);
  add_train_tokenizer(program, action);
  if (auto message = unknown_command(program, argc, argv)) return report({ErrorCode::invalid_input, *std::move(message)});
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp& e) {
    return program.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return program.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return program.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "pipestill: %s (see pipestill --help)\n", e.what());
    return kInvalidInput;
  }
  const int status = action();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  return report({ErrorCode::storage_failed, "what was to be printed could not all be written to standard output"});
}

}  // namespace
}  // namespace pipestill::app

int main(int argc, char** argv) {
  try {
    return pipestill::app::run_program(argc, argv);
  } catch (const std::exception& e) {
    return pipestill::app::report({pipestill::ErrorCode::internal, std::string("unexpected exception: ") + e.what()});
  }
}
