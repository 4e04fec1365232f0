#include "bench/rivals.hpp"

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <tuple>

namespace pipestill::bench {
namespace {

namespace fg = oneapi::tbb::flow;

/// Checks what arrives: a rival that loses or reorders has no time worth printing.
class Sink {
 public:
  void take(std::uint64_t n) {
    if (n != next_++) throw std::logic_error("a rival lost the order");
  }
  void expect(std::uint64_t n) const {
    if (next_ != n) throw std::logic_error("a rival lost messages");
  }

 private:
  std::uint64_t next_ = 0;
};

struct Message {
  std::uint64_t seq = 0, value = 0;
};
struct Lease {
  std::uint64_t version = 0;
  std::shared_ptr<const std::uint64_t> weights;
};
struct Credit {};
using Out = std::tuple<Message>;
using SerialNode = fg::multifunction_node<Message, Out>;
using SourceNode = fg::multifunction_node<Credit, Out>;

/// The source's body: 0, 1, ... end - 1, one for a credit.
struct Numbers {
  std::uint64_t end, next = 0;
  void operator()(Credit, SourceNode::output_ports_type& out) {
    if (next == end) return;
    std::get<0>(out).try_put({next, next});
    ++next;
  }
};

const auto seq_of = [](const Message& m) -> std::size_t { return m.seq; };

void run_returning(const EngineLoad& load) {
  Sink sink;
  fg::graph g;
  SourceNode source(g, fg::serial, Numbers{load.batches});
  fg::function_node<Message, Message> teacher(g, load.depth, [](const Message& m) { return m; });
  fg::function_node<Message, Message> builder(g, load.depth, [](const Message& m) { return m; });
  fg::sequencer_node<Message> order(g, seq_of);
  SerialNode training(g, fg::serial, [](const Message& m, SerialNode::output_ports_type& out) { std::get<0>(out).try_put(m); });
  fg::function_node<Message, Credit> metrics(g, fg::serial, [&](const Message& m) { return sink.take(m.value), Credit{}; });
  fg::make_edge(fg::output_port<0>(source), teacher);
  fg::make_edge(teacher, builder);
  fg::make_edge(builder, order);
  fg::make_edge(order, training);
  fg::make_edge(fg::output_port<0>(training), metrics);
  fg::make_edge(metrics, source);
  for (std::size_t k = 0; k < load.depth; ++k) source.try_put({});
  g.wait_for_all();
  sink.expect(load.batches);
}

void run_feedback(const EngineLoad& load) {
  struct Held {
    Message message;
    Lease lease;
  };
  using HeldOut = std::tuple<Message, Lease>;
  using Joined = std::tuple<Message, Lease>;
  Sink sink;
  fg::graph g;
  SourceNode source(g, fg::serial, Numbers{load.batches});
  fg::queue_node<Message> batches(g);  // the source emits in order
  fg::queue_node<Lease> leases(g);
  fg::join_node<Joined, fg::reserving> join(g);
  fg::function_node<Joined, Held> student(g, load.depth, [](const Joined& j) { return Held{std::get<0>(j), std::get<1>(j)}; });
  fg::function_node<Held, Held> builder(g, load.depth, [](const Held& h) { return h; });
  fg::sequencer_node<Held> order(g, [](const Held& h) -> std::size_t { return h.message.seq; });
  using TrainingNode = fg::multifunction_node<Held, HeldOut>;
  TrainingNode training(g, fg::serial, [version = std::uint64_t{0}](const Held& h, TrainingNode::output_ports_type& out) mutable {
    ++version;
    std::get<1>(out).try_put({version, std::make_shared<const std::uint64_t>(version)});
    std::get<0>(out).try_put(h.message);
  });
  fg::function_node<Message, Credit> metrics(g, fg::serial, [&](const Message& m) { return sink.take(m.value), Credit{}; });
  fg::make_edge(fg::output_port<0>(source), batches);
  fg::make_edge(batches, fg::input_port<0>(join));
  fg::make_edge(leases, fg::input_port<1>(join));
  fg::make_edge(join, student);
  fg::make_edge(student, builder);
  fg::make_edge(builder, order);
  fg::make_edge(order, training);
  fg::make_edge(fg::output_port<0>(training), metrics);
  fg::make_edge(fg::output_port<1>(training), leases);
  fg::make_edge(metrics, source);
  const auto initial = std::make_shared<const std::uint64_t>(0);
  for (std::size_t k = 0; k < load.depth; ++k) leases.try_put({0, initial});  // s = depth - 1
  for (std::size_t k = 0; k < load.depth; ++k) source.try_put({});
  g.wait_for_all();
  sink.expect(load.batches);
}

void run_asynchronous(const EngineLoad& load) {
  Sink sink;
  fg::graph g;
  SourceNode source(g, fg::serial, Numbers{load.batches});
  using AsyncNode = fg::async_node<Message, Message, fg::queueing>;
  AsyncNode teacher(g, fg::unlimited, [](const Message& m, AsyncNode::gateway_type& gateway) {
    gateway.reserve_wait();
    gateway.try_put(m);
    gateway.release_wait();
  });
  fg::function_node<Message, Message> builder(g, load.depth, [](const Message& m) { return m; });
  fg::sequencer_node<Message> order(g, seq_of);
  // A training step may outlast its submission: a place bounds what is outstanding.
  fg::queue_node<Credit> places(g);
  using Joined = std::tuple<Message, Credit>;
  fg::join_node<Joined, fg::reserving> join(g);
  using TrainingNode = fg::async_node<Joined, Message, fg::queueing>;
  TrainingNode training(g, fg::serial, [&](const Joined& j, TrainingNode::gateway_type& gateway) {
    gateway.reserve_wait();
    gateway.try_put(std::get<0>(j));
    places.try_put({});
    gateway.release_wait();
  });
  fg::function_node<Message, Credit> metrics(g, fg::serial, [&](const Message& m) { return sink.take(m.value), Credit{}; });
  fg::make_edge(fg::output_port<0>(source), teacher);
  fg::make_edge(fg::output_port<0>(teacher), builder);
  fg::make_edge(builder, order);
  fg::make_edge(order, fg::input_port<0>(join));
  fg::make_edge(places, fg::input_port<1>(join));
  fg::make_edge(join, training);
  fg::make_edge(fg::output_port<0>(training), metrics);
  fg::make_edge(metrics, source);
  places.try_put({});
  for (std::size_t k = 0; k < load.depth; ++k) source.try_put({});
  g.wait_for_all();
  sink.expect(load.batches);
}

/// A FIFO that makes its writer wait when it is full.
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t places) : places_(places) {}
  void push(std::uint64_t n) {
    std::unique_lock lock(mutex_);
    has_changed_.wait(lock, [&] { return queue_.size() < places_; });
    queue_.push_back(n);
    has_changed_.notify_all();
  }
  std::uint64_t pop() {
    std::unique_lock lock(mutex_);
    has_changed_.wait(lock, [&] { return !queue_.empty(); });
    const auto n = queue_.front();
    queue_.pop_front();
    has_changed_.notify_all();
    return n;
  }

 private:
  const std::size_t places_;
  std::mutex mutex_;  // guards queue_
  std::condition_variable has_changed_;
  std::deque<std::uint64_t> queue_;
};

template <class F>
void in_arena(const EngineLoad& load, F f) {
  oneapi::tbb::task_arena arena(static_cast<int>(load.threads));
  arena.execute(f);
}

}  // namespace

void run_hand_written_graph(Shape shape, const EngineLoad& load) {
  in_arena(load, [&] {
    if (shape == Shape::feedback) run_feedback(load);
    else if (shape == Shape::asynchronous) run_asynchronous(load);
    else run_returning(load);
  });
}

void run_parallel_pipeline(const EngineLoad& load) {
  namespace tbb = oneapi::tbb;
  Sink sink;
  std::uint64_t next = 0;
  const auto pass = tbb::make_filter<std::uint64_t, std::uint64_t>(tbb::filter_mode::parallel, [](std::uint64_t n) { return n; });
  const auto source = tbb::make_filter<void, std::uint64_t>(tbb::filter_mode::serial_in_order, [&](tbb::flow_control& control) -> std::uint64_t {
    if (next == load.batches) control.stop();
    return next++;
  });
  const auto training = tbb::make_filter<std::uint64_t, std::uint64_t>(tbb::filter_mode::serial_in_order, [](std::uint64_t n) { return n; });
  const auto metrics = tbb::make_filter<std::uint64_t, void>(tbb::filter_mode::serial_in_order, [&](std::uint64_t n) { sink.take(n); });
  in_arena(load, [&] { tbb::parallel_pipeline(load.depth, source & pass & pass & training & metrics); });
  sink.expect(load.batches);
}

void run_plain_threads(const EngineLoad& load) {
  Sink sink;
  BoundedQueue prompts(load.depth), answers(load.depth), datums(load.depth), results(load.depth);
  const auto pass = [&load](BoundedQueue& from, BoundedQueue& to) {
    return std::jthread([&] {
      for (std::uint64_t k = 0; k < load.batches; ++k) to.push(from.pop());
    });
  };
  const auto teacher = pass(prompts, answers), builder = pass(answers, datums), training = pass(datums, results);
  const std::jthread source([&] {
    for (std::uint64_t n = 0; n < load.batches; ++n) prompts.push(n);
  });
  for (std::uint64_t k = 0; k < load.batches; ++k) sink.take(results.pop());
  sink.expect(load.batches);
}

}  // namespace pipestill::bench
