#include "graph/session.hpp"

#include <doctest/doctest.h>

#include "graph/engine.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;

namespace {

struct Recorded final : Session {
  Recorded(std::string n, std::vector<std::string>& l) : name(std::move(n)), log(l) {}
  Result<void> open(std::stop_token) override {
    log.push_back("open " + name);
    if (open_fails) return fail(ErrorCode::backend_failed, name + " is dead");
    return {};
  }
  Result<void> close() override {
    log.push_back("close " + name);
    if (close_fails) return fail(ErrorCode::backend_failed, name + " did not close");
    return {};
  }
  std::string open_name() const override { return "init_" + name; }
  std::string close_name() const override { return "cleanup_" + name; }
  std::string name;
  std::vector<std::string>& log;
  bool open_fails = false, close_fails = false;
};

struct Fixture {
  std::vector<std::string> log;
  std::shared_ptr<Recorded> teacher = std::make_shared<Recorded>("teacher", log), student = std::make_shared<Recorded>("student", log);

  RunReport run_flow(bool stage_fails = false, Executor executor = Executor::small) {
    auto flow = from("source",
                     [this, n = 0](Context&) mutable {
                       if (n == 0) log.push_back("source");
                       return n < 3 ? std::optional(n++) : std::nullopt;
                     })
                    .into("sink",
                          [this, stage_fails](int n, Context&) -> Result<void> {
                            if (stage_fails) return fail(ErrorCode::backend_failed, "sink broke");
                            if (n == 2) log.push_back("last");
                            return {};
                          })
                    .with(teacher)
                    .with(student);
    return run(std::move(flow), {.executor = executor});
  }
};

}  // namespace

TEST_CASE("sessions open before the source, and close after the drain in reverse") {
  Fixture f;
  CHECK(f.run_flow().status == RunReport::Status::finished);
  CHECK(f.log == std::vector<std::string>{"open teacher", "open student", "source", "last", "close student", "close teacher"});
}

TEST_CASE("sessions close once, also when a stage fails") {
  Fixture f;
  CHECK(f.run_flow(true).failure->stage == "sink");
  CHECK(f.log == std::vector<std::string>{"open teacher", "open student", "source", "close student", "close teacher"});
}

TEST_CASE("a session that does not open ends the run before the source, and those before it are closed") {
  Fixture f;
  f.student->open_fails = true;
  const auto report = f.run_flow();
  CHECK(report.status == RunReport::Status::failed);
  CHECK(report.failure->stage == "init_student");
  CHECK_FALSE(report.failure->seq.has_value());
  CHECK(report.failure->error.message == "student is dead");
  CHECK(f.log == std::vector<std::string>{"open teacher", "open student", "close teacher"});
}

TEST_CASE("a session that does not close is reported, and hides no earlier failure") {
  Fixture f;
  f.teacher->close_fails = true;
  auto report = f.run_flow();
  CHECK(report.status == RunReport::Status::failed);
  CHECK(report.failure->stage == "cleanup_teacher");
  report = f.run_flow(true);
  CHECK(report.failure->stage == "sink");
  REQUIRE(report.close_failures.size() == 1);
  CHECK(report.close_failures[0].stage == "cleanup_teacher");
}
