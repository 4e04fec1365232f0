// pipestill audit: whether a run did what its recipe asks for.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "nodes/audit.hpp"

namespace pipestill::app {
namespace {

void print_audit(const AuditReport& audit) {
  for (const auto& check : audit.checks) {
    const char* outcome = check.faults > 0 ? "FAULT" : check.is_made ? "ok" : "-";  // -: could not be checked
    std::printf("%-7s%-12s%s\n", outcome, check.name.c_str(), check.question.c_str());
    for (const auto& fault : check.first) std::printf("       %s\n", fault.message.c_str());
    if (check.faults > check.first.size()) std::printf("       and %llu more\n", static_cast<unsigned long long>(check.faults - check.first.size()));
  }
  const auto steps = static_cast<unsigned long long>(audit.steps);
  if (audit.faults() == 0) std::printf("clean: %llu steps, ledger digest %s\n", steps, audit.ledger_digest.c_str());
  else std::printf("%llu faults in %llu steps\n", static_cast<unsigned long long>(audit.faults()), steps);
}

std::string audit_json(const AuditReport& audit) {
  boost::json::array checks;
  for (const auto& check : audit.checks) {
    boost::json::array first;
    for (const auto& fault : check.first) {
      first.push_back(boost::json::object{{"step", fault.step ? boost::json::value(*fault.step) : boost::json::value()}, {"message", fault.message}});
    }
    checks.push_back(boost::json::object{{"name", check.name}, {"question", check.question}, {"is_made", check.is_made}, {"faults", check.faults}, {"first", std::move(first)}});
  }
  return boost::json::serialize(boost::json::object{
      {"clean", audit.faults() == 0}, {"faults", audit.faults()}, {"steps", audit.steps}, {"ledger_digest", audit.ledger_digest}, {"checks", std::move(checks)}});
}

int run_audit(const std::string& run, bool is_json) {
  const auto audit = audit_run(run);
  if (!audit) return report(audit.error());
  if (is_json) std::puts(audit_json(*audit).c_str());
  else print_audit(*audit);
  return audit->faults() == 0 ? kDone : kDifferent;
}

}  // namespace

void add_audit(CLI::App& program, Action& action) {
  struct Arguments {
    std::string run;
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto& command = *program.add_subcommand("audit", "Check a run's ledger against its recipe and its data; exit status 1 and the faults if there are any");
  command.add_option("RUN", arguments->run, "A run directory")->required();
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("It asks that no batch is missing or comes twice, that each met the student that the recipe says, and that every epoch has the dataset's rows.\n"
                 "Example: pipestill audit runs/first");
  command.callback([arguments, &action] { action = [arguments] { return run_audit(arguments->run, arguments->json); }; });
}

}  // namespace pipestill::app
