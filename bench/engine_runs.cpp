#include "bench/engine_runs.hpp"

#include <memory>
#include <optional>
#include <stdexcept>

#include "graph/engine.hpp"

namespace pipestill::bench {
namespace {

using graph::any_order;
using graph::Context;
using graph::in_sequence;

struct CompleteAtOnce {
  using Output = std::uint64_t;
  void operator()(std::uint64_t n, Context&, const Completion<std::uint64_t>& done) const { done(n); }
};

graph::ClosedFlow make_flow(Shape shape, const EngineLoad& load, std::uint64_t& next) {
  auto source = graph::from("batch_source", [n = std::uint64_t{0}, last = load.batches](Context&) mutable { return n < last ? std::optional(n++) : std::nullopt; });
  const auto pass = [](std::uint64_t n, Context&) { return n; };
  const auto sink = [&next](std::uint64_t n, Context&) {
    if (n != next++) throw std::logic_error("the order was lost");
  };
  if (shape == Shape::asynchronous) {
    return std::move(source)
        .then("teacher_inference", any_order(load.depth), CompleteAtOnce{})
        .then("datum_builder", any_order(load.depth), pass)
        .then("forward_backward", in_sequence(), CompleteAtOnce{}, graph::commits)
        .into("metrics_sink", sink);
  }
  if (shape == Shape::feedback) {
    const graph::Feedback<std::uint64_t> student(std::make_shared<const std::uint64_t>(0), graph::Staleness{load.depth - 1});
    return std::move(source)
        .then("student_inference", any_order(load.depth), pass, reads(student))
        .then("datum_builder", any_order(load.depth), pass)
        .then("forward_backward", in_sequence(),
              [student, version = std::uint64_t{0}](std::uint64_t n, Context& context) mutable {
                student.publish(context, std::make_shared<const std::uint64_t>(++version));
                return n;
              },
              publishes(student))
        .into("metrics_sink", sink);
  }
  return std::move(source)
      .then("teacher_inference", any_order(load.depth), pass)
      .then("datum_builder", any_order(load.depth), pass)
      .then("forward_backward", in_sequence(), pass, graph::commits)
      .into("metrics_sink", sink);
}

}  // namespace

std::string name_of(Shape shape) {
  switch (shape) {
    case Shape::returning: return "returning";
    case Shape::feedback: return "feedback";
    case Shape::asynchronous: return "asynchronous";
  }
  return {};
}

void run_engine(Shape shape, const EngineLoad& load, graph::Trace* trace) {
  std::uint64_t next = 0;
  const auto report = graph::run(make_flow(shape, load, next), {.depth = load.depth, .threads = load.threads, .trace = trace});
  if (report.status != graph::RunReport::Status::finished || next != load.batches) throw std::logic_error("the engine did not finish");
}

}  // namespace pipestill::bench
