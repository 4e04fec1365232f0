#include "ports/telemetry/telemetry.hpp"

#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <cmath>
#include <sstream>
#include <thread>
#include <vector>

#include "ports/telemetry/jsonl_telemetry.hpp"
#include "ports/telemetry/spdlog_telemetry.hpp"
#include "ports/telemetry/telemetry_fanout.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;

namespace {

std::vector<boost::json::object> lines_of(const std::filesystem::path& path) {
  std::vector<boost::json::object> lines;
  std::istringstream file(testing::read_file(path));
  for (std::string line; std::getline(file, line);) lines.push_back(boost::json::parse(line).as_object());
  return lines;
}

}  // namespace

TEST_CASE("metrics.jsonl has a line a step, in the file when the call returns") {
  const TempDir dir;
  const auto path = dir.path() / "metrics.jsonl";
  auto telemetry = JsonlTelemetry::open(path, OutputFile::Mode::truncate).value();
  telemetry->metrics(0, {{"loss", 1.5}, {"num_tokens", 7}, {"missing", nullptr}});
  REQUIRE(lines_of(path).size() == 1);
  telemetry->metrics(1, {{"loss", std::nan("")}, {"worse", INFINITY}, {"step", 99}});
  const auto lines = lines_of(path);
  CHECK(lines[0].at("step").as_int64() == 0);
  CHECK(lines[0].at("loss").as_double() == 1.5);
  CHECK(lines[0].at("missing").is_null());
  CHECK(lines[1].at("step").as_int64() == 1);
  CHECK(lines[1].at("loss").is_null());
  CHECK(lines[1].at("worse").is_null());
  REQUIRE(telemetry->close());
  telemetry->metrics(2, {});
  CHECK(lines_of(path).size() == 2);
  JsonlTelemetry::open(path, OutputFile::Mode::append).value()->metrics(2, {});
  CHECK(lines_of(path).size() == 3);
}

TEST_CASE("metrics that cannot be written are an error of close") {
  CHECK(JsonlTelemetry::open("/nonexistent/m.jsonl", OutputFile::Mode::append).error().code == ErrorCode::invalid_input);
  if (!std::filesystem::exists("/dev/full")) return;
  auto telemetry = JsonlTelemetry::open("/dev/full", OutputFile::Mode::append).value();
  telemetry->metrics(0, {});
  telemetry->metrics(1, {});
  const auto closed = telemetry->close();
  REQUIRE(!closed);
  CHECK(closed.error().code == ErrorCode::backend_failed);
  CHECK(closed.error().message.find("/dev/full: No space left") != std::string::npos);
}

TEST_CASE("lines of many threads do not mix") {
  const TempDir dir;
  auto telemetry = JsonlTelemetry::open(dir.path() / "m.jsonl", OutputFile::Mode::truncate).value();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (std::uint64_t i = 0; i < 100; ++i) telemetry->metrics(i, {{"text", std::string(100, 'x')}});
      });
    }
  }
  CHECK(lines_of(dir.path() / "m.jsonl").size() == 400);
}

TEST_CASE("a log shows events at debug, and metrics at info every few steps") {
  std::ostringstream out;
  auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(out));
  logger->set_pattern("%l %v");
  logger->set_level(spdlog::level::info);
  SpdlogTelemetry telemetry(logger, 2);
  CHECK(!telemetry.wants_stage_events());
  telemetry.event("pipestill.distillation.step", {{"seq", 1}});
  for (std::uint64_t step = 0; step < 4; ++step) telemetry.metrics(step, {{"loss", 0.123456789}, {"num_tokens", 7}});
  CHECK(out.str() == "info step 0 loss=0.123457 num_tokens=7\ninfo step 2 loss=0.123457 num_tokens=7\n");
  logger->set_level(spdlog::level::debug);
  CHECK(telemetry.wants_stage_events());
  out.str("");
  telemetry.event("pipestill.distillation.step", {{"seq", 1}, {"why", "x {} y"}});
  SpdlogTelemetry(logger, 0).metrics(0, {});
  CHECK(out.str() == "debug pipestill.distillation.step seq=1 why=\"x {} y\"\n");
}

TEST_CASE("a fan-out passes everything to every sink, and wants what one of them wants") {
  struct Sink final : Telemetry {
    explicit Sink(bool wants) : wants_detail(wants) {}
    void event(std::string_view, const boost::json::object&) override { ++calls; }
    void span(const Span&) override { ++calls; }
    void metrics(std::uint64_t, const boost::json::object&) override { ++calls; }
    [[nodiscard]] bool wants_spans() const override { return wants_detail; }
    [[nodiscard]] bool wants_stage_events() const override { return wants_detail; }
    bool wants_detail;
    int calls = 0;
  };
  const auto a = std::make_shared<Sink>(false), b = std::make_shared<Sink>(true);
  TelemetryFanout both({a, b}), none, quiet({a});
  CHECK((both.wants_spans() && both.wants_stage_events()));
  CHECK(!(quiet.wants_spans() || quiet.wants_stage_events()));
  CHECK(!(none.wants_spans() || none.wants_stage_events()));
  both.event("e", {});
  both.span({});
  both.metrics(1, {});
  none.event("e", {});
  CHECK(a->calls == 3);
  CHECK(b->calls == 3);
}
