#include "ports/telemetry/chrome_trace.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "tests/ports/support.hpp"

using namespace pipestill;
using namespace std::chrono_literals;
using testing::TempDir;
using testing::text;

namespace {

boost::json::array events_of(const std::filesystem::path& path) { return boost::json::parse(testing::read_file(path)).as_array(); }

std::string thread_name(const boost::json::array& events, const boost::json::value& tid) {
  for (const auto& e : events) {
    if (text(e.at("ph")) == "M" && text(e.at("name")) == "thread_name" && e.at("tid") == tid) return text(e.at("args").at("name"));
  }
  return "";
}

}  // namespace

TEST_CASE("a trace shows each span on a named thread of its track, in microseconds") {
  const TempDir dir;
  const auto path = dir.path() / "trace.json";
  auto trace = ChromeTrace::open(path, std::make_shared<SimulatedClock>()).value();
  CHECK(trace->wants_spans());
  CHECK(!trace->wants_stage_events());
  trace->span({.track = "teacher \"A\"", .name = "sample", .seq = 3, .begin = 1500ns, .end = 4750ns});
  trace->event("pipestill.distillation.step", {{"seq", 3}});
  trace->event("pipestill.stage.teacher.start", {});
  trace->event("pipestill.stage.teacher.exception", {{"what", "a\nb"}});
  REQUIRE(trace->close());
  CHECK(trace->close());
  trace->span({.track = "late", .name = "late"});
  const auto events = events_of(path);
  int spans = 0, instants = 0;
  for (const auto& e : events) {
    const auto ph = text(e.at("ph"));
    if (ph == "X") {
      ++spans;
      CHECK(e.at("ts").to_number<double>() == 1.5);
      CHECK(e.at("dur").to_number<double>() == 3.25);
      CHECK(text(e.at("name")) == "sample");
      CHECK(e.at("args").at("seq").to_number<int>() == 3);
      CHECK(thread_name(events, e.at("tid")) == "teacher \"A\"");
    }
    if (ph == "i") {
      ++instants;
      CHECK(thread_name(events, e.at("tid")) == "events");
    }
  }
  CHECK(spans == 1);
  CHECK(instants == 2);
}

TEST_CASE("spans of one track that overlap go to threads of their own") {
  const TempDir dir;
  const auto path = dir.path() / "trace.json";
  auto trace = ChromeTrace::open(path, std::make_shared<SimulatedClock>(), 2).value();
  trace->span({.track = "t", .name = "a", .seq = 0, .begin = 0us, .end = 10us});
  trace->span({.track = "t", .name = "b", .seq = 1, .begin = 5us, .end = 12us});
  trace->span({.track = "t", .name = "c", .seq = 2, .begin = 10us, .end = 15us});
  trace->span({.track = "u", .name = "d", .seq = 3, .begin = 0us, .end = 1us});
  trace.reset();  // closes
  const auto events = events_of(path);
  std::vector<std::string> threads;
  for (const auto& e : events) {
    if (text(e.at("ph")) == "X") threads.push_back(thread_name(events, e.at("tid")));
  }
  CHECK(threads == std::vector<std::string>{"t", "t (2)", "t", "u"});
}

TEST_CASE("a trace without events is JSON, and one from many threads is whole") {
  const TempDir dir;
  CHECK(ChromeTrace::open(dir.path() / "empty.json", std::make_shared<SimulatedClock>()).value()->close());
  CHECK(events_of(dir.path() / "empty.json").size() == 1);
  auto trace = ChromeTrace::open(dir.path() / "many.json", std::make_shared<SimulatedClock>(), 16).value();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        const std::string track = "track " + std::to_string(t);
        for (int i = 0; i < 200; ++i) {
          trace->span({.track = track, .name = "s", .seq = static_cast<std::uint64_t>(i), .begin = i * 10us, .end = i * 10us + 5us});
          if (i % 10 == 0) trace->event("e", {{"i", i}});
        }
      });
    }
  }
  REQUIRE(trace->close());
  int spans = 0, instants = 0;
  for (const auto& e : events_of(dir.path() / "many.json")) {
    spans += text(e.at("ph")) == "X";
    instants += text(e.at("ph")) == "i";
  }
  CHECK(spans == 800);
  CHECK(instants == 80);
}

TEST_CASE("a trace that cannot be written says so, once it is closed") {
  CHECK(ChromeTrace::open("/nonexistent/trace.json", std::make_shared<SimulatedClock>()).error().code == ErrorCode::invalid_input);
  if (!std::filesystem::exists("/dev/full")) return;
  auto trace = ChromeTrace::open("/dev/full", std::make_shared<SimulatedClock>(), 1).value();
  trace->span({.track = "t", .name = "a"});
  trace->span({.track = "t", .name = "a"});
  CHECK(trace->close().error().message.find("/dev/full") != std::string::npos);
}
