// pipestill-bench: measurements as ratios within one run, with medians, spread and the machine's facts.
#include <cstdio>
#include <exception>

#include "bench/scenarios.hpp"

namespace {

int run_program(int argc, char** argv) {
  using namespace pipestill::bench;
  CLI::App program("Measures pipestill: ratios within one run, medians and spread, with the machine's facts.", "pipestill-bench");
  program.require_subcommand(0, 1);  // none is this function's error: CLI11's would not name a word that is no scenario
  Action action;
  add_engine(program, action);
  add_pipeline(program, action);
  add_overlap(program, action);
  add_dataset(program, action);
  add_ledger(program, action);
  add_store(program, action);
  add_tokenize(program, action);
#ifdef PIPESTILL_BENCH_MODELS
  add_gemm(program, action);
  add_sample(program, action);
  add_train(program, action);
#endif
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return program.exit(e);
    std::fprintf(stderr, "pipestill-bench: %s (see pipestill-bench --help)\n", e.what());
    return 2;
  }
  if (!action) {
    std::fprintf(stderr, "pipestill-bench: a scenario is missing (see pipestill-bench --help)\n");
    return 2;
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "pipestill-bench: unexpected exception: %s\n", e.what());
    return 4;
  }
}
