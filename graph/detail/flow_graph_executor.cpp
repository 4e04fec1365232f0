// The oneTBB executor, and the only user of flow_graph.h. One node a stage, plus the sequencer or join that its kind needs; messages are pointers to slots.
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/task_arena.h>

#include <memory>
#include <tuple>
#include <type_traits>

#include "graph/detail/run.hpp"

namespace pipestill::graph::detail {
namespace {

namespace fg = oneapi::tbb::flow;

struct Permission {};  // a free place, or a version that was issued

// What a node receives: the slot, alone or with the permissions that its join waited for.
Slot* slot_of(Slot* message) { return message; }
template <class... P>
Slot* slot_of(const std::tuple<Slot*, P...>& message) { return std::get<0>(message); }

using SlotOut = std::tuple<Slot*>;

class Graph {
 public:
  explicit Graph(Run& run) : run_(run), source_(graph_, fg::serial, [this](Slot* slot, SourceNode::output_ports_type& out) { admit(slot, out); }) {
    fg::sender<Slot*>* tail = &fg::output_port<0>(source_);
    for (std::size_t i = 0; i < run_.stages().size(); ++i) tail = run_.stages()[i].call ? add_call_stage(i, *tail) : add_start_stage(i, *tail);
    fg::make_edge(*tail, source_);  // a retired slot is the credit for the next batch
  }

  void drive() {
    if (versions_) {
      for (std::size_t k = 0; k < run_.initial_versions(); ++k) versions_->try_put({});
    }
    for (auto& slot : run_.slots()) source_.try_put(slot.get());
    graph_.wait_for_all();
  }

 private:
  using SourceNode = fg::multifunction_node<Slot*, SlotOut>;
  // Emits inside its body: a serial node of this kind keeps the order towards its successor, and a function_node does not.
  template <class Message>
  using CallNode = fg::multifunction_node<Message, SlotOut>;
  template <class Message>
  using StartNode = fg::async_node<Message, Slot*, fg::queueing>;

  void admit(Slot* slot, SourceNode::output_ports_type& out) {
    if (run_.admit(*slot)) std::get<0>(out).try_put(slot);
  }

  // Holds back a batch until all before it have passed.
  fg::sequencer_node<Slot*>& add_sequencer(fg::sender<Slot*>& tail) {
    auto& sequencer = keep<fg::sequencer_node<Slot*>>(graph_, [](Slot* const& slot) -> std::size_t { return slot->context.seq.value; });
    fg::make_edge(tail, sequencer);
    return sequencer;
  }

  fg::sender<Slot*>* add_call_stage(std::size_t i, fg::sender<Slot*>& tail) {
    const auto& plan = run_.stages()[i];
    if (plan.reads) {
      using Joined = std::tuple<Slot*, Permission>;
      auto& join = keep<fg::join_node<Joined, fg::reserving>>(graph_);
      fg::make_edge(add_sequencer(tail), fg::input_port<0>(join));
      fg::make_edge(add_versions(), fg::input_port<1>(join));
      return add_call_node<Joined>(i, join);
    }
    if (plan.is_in_sequence) return add_call_node<Slot*>(i, add_sequencer(tail));
    return add_call_node<Slot*>(i, tail);
  }

  template <class Message, class Sender>
  fg::sender<Slot*>* add_call_node(std::size_t i, Sender& from) {
    const auto& plan = run_.stages()[i];
    const bool is_sink = i + 1 == run_.stages().size();
    auto& node = keep<CallNode<Message>>(graph_, plan.is_in_sequence ? std::size_t{fg::serial} : plan.limit,
                                         [this, i, is_sink, publishes = plan.publishes](const Message& message, typename CallNode<Message>::output_ports_type& out) {
                                           Slot* slot = slot_of(message);
                                           run_.call(i, *slot);
                                           if (publishes) versions_->try_put({});
                                           if (is_sink) run_.retire(*slot);
                                           std::get<0>(out).try_put(slot);
                                         });
    fg::make_edge(from, node);
    return &fg::output_port<0>(node);
  }

  // TBB's limit on an async_node covers the submission only: places bound what is outstanding.
  fg::sender<Slot*>* add_start_stage(std::size_t i, fg::sender<Slot*>& tail) {
    const auto& plan = run_.stages()[i];
    auto& places = keep<fg::queue_node<Permission>>(graph_);
    for (std::size_t k = 0; k < plan.limit; ++k) places.try_put({});
    if (plan.reads) {
      using Joined = std::tuple<Slot*, Permission, Permission>;
      auto& join = keep<fg::join_node<Joined, fg::reserving>>(graph_);
      fg::make_edge(add_sequencer(tail), fg::input_port<0>(join));
      fg::make_edge(places, fg::input_port<1>(join));
      fg::make_edge(add_versions(), fg::input_port<2>(join));
      return add_start_node<Joined>(i, join, places);
    }
    using Joined = std::tuple<Slot*, Permission>;
    auto& join = keep<fg::join_node<Joined, fg::reserving>>(graph_);
    if (plan.is_in_sequence) {
      fg::make_edge(add_sequencer(tail), fg::input_port<0>(join));
    } else {  // a reserving join takes only from what can hold a message
      auto& waiting = keep<fg::queue_node<Slot*>>(graph_);
      fg::make_edge(tail, waiting);
      fg::make_edge(waiting, fg::input_port<0>(join));
    }
    fg::make_edge(places, fg::input_port<1>(join));
    return add_start_node<Joined>(i, join, places);
  }

  template <class Message>
  fg::sender<Slot*>* add_start_node(std::size_t i, fg::sender<Message>& from, fg::queue_node<Permission>& places) {
    const auto& plan = run_.stages()[i];
    auto& node = keep<StartNode<Message>>(graph_, plan.is_in_sequence ? std::size_t{fg::serial} : std::size_t{fg::unlimited},
                                          [this, i, &places, publishes = plan.publishes](const Message& message, typename StartNode<Message>::gateway_type& gateway) {
                                            Slot* slot = slot_of(message);
                                            gateway.reserve_wait();
                                            run_.start(i, *slot, [this, slot, publishes, &places, &gateway] {
                                              if (publishes) versions_->try_put({});
                                              gateway.try_put(slot);
                                              places.try_put({});
                                              gateway.release_wait();  // the last touch of the graph
                                            });
                                          });
    fg::make_edge(from, node);
    return &fg::output_port<0>(node);  // never the node itself: registering a successor there is a silent no-op
  }

  fg::queue_node<Permission>& add_versions() {
    versions_ = &keep<fg::queue_node<Permission>>(graph_);
    return *versions_;
  }

  template <class Node, class... Args>
  Node& keep(Args&&... args) {
    auto node = std::make_unique<Node>(std::forward<Args>(args)...);
    auto& reference = *node;
    nodes_.push_back(std::move(node));
    return reference;
  }

  Run& run_;
  fg::graph graph_;  // before the nodes
  SourceNode source_;
  fg::queue_node<Permission>* versions_ = nullptr;
  std::vector<std::unique_ptr<fg::graph_node>> nodes_;
};

}  // namespace

void run_on_flow_graph(Run& run, std::size_t threads) {
  oneapi::tbb::task_arena arena(threads ? static_cast<int>(threads) : oneapi::tbb::task_arena::automatic);
  arena.execute([&] { Graph(run).drive(); });
}

}  // namespace pipestill::graph::detail
