// pipestill diff: whether two runs did the same.
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "nodes/run_diff.hpp"

namespace pipestill::app {
namespace {

struct DiffArguments {
  std::string a, b;
  bool json = false;
};

int run_diff(const DiffArguments& arguments) {
  const auto compared = compare_runs(arguments.a, arguments.b);
  if (!compared) return report(compared.error());
  const auto& difference = compared->difference;
  if (arguments.json) {
    boost::json::object out{{"identical", !difference}, {"equal_steps", compared->steps}};
    if (difference) {
      out["difference"] = boost::json::object{{"step", difference->step ? boost::json::value(*difference->step) : boost::json::value()},
                                              {"field", difference->field}, {"a", difference->a}, {"b", difference->b}};
    }
    std::puts(boost::json::serialize(out).c_str());
  } else if (!difference) {
    std::printf("identical: %llu steps%s\n", static_cast<unsigned long long>(compared->steps),
                compared->has_weights ? " and the final weights" : "; neither run has final weights");
  } else {
    const auto where = difference->step ? "first difference at step " + std::to_string(*difference->step)
                                        : "all " + std::to_string(compared->steps) + " steps are equal, and yet the runs differ";
    std::printf("%s: %s\n  %s: %s\n  %s: %s\n", where.c_str(), difference->field.c_str(), arguments.a.c_str(), difference->a.c_str(), arguments.b.c_str(),
                difference->b.c_str());
  }
  return difference ? kDifferent : kDone;
}

}  // namespace

void add_diff(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<DiffArguments>();
  auto& command = *program.add_subcommand("diff", "Compare two runs step by step; exit status 1 and the first difference if there is one");
  command.add_option("RUN_A", arguments->a, "A run directory")->required();
  command.add_option("RUN_B", arguments->b, "Another one, or the same")->required();
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill diff runs/sequential runs/pipelined");
  command.callback([arguments, &action] { action = [arguments] { return run_diff(*arguments); }; });
}

}  // namespace pipestill::app
