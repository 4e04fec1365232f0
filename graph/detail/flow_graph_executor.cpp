// The oneTBB executor, and the only user of flow_graph.h. One node a stage, which orders and bounds what it begins (Order, Places); before one that reads the
// student, a join with its versions. Messages are pointers to slots.
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "graph/detail/run.hpp"

namespace pipestill::graph::detail {
namespace {

namespace fg = oneapi::tbb::flow;

struct Permission {};  // a version that was issued, or granted bytes

// What a node receives: the slot, alone or with the permissions that its join waited for.
Slot* slot_of(Slot* message) { return message; }
Slot* slot_of(const std::tuple<Slot*, Permission>& message) { return std::get<0>(message); }
// What a node receives again: a slot that has its permission.
template <class Message>
Message message_of(Slot& slot) {
  if constexpr (std::is_same_v<Message, Slot*>) return &slot;
  else return {&slot, Permission{}};
}

using SlotOut = std::tuple<Slot*>;

/// Puts slots in sequence at a serial node, whose body nobody else runs meanwhile: what comes early waits here. A sequencer_node before the node does the
/// same for a tenth of an idle batch more. Not thread-safe.
class Order {
 public:
  Order(std::size_t depth, Seq first) : early_(depth), next_(first.value) {}
  /// Calls `go` for each slot whose turn it is now that `slot` has come. No more than `depth` batches are under way, so each has a place of its own.
  template <class F>
  void pass(Slot& slot, F go) {
    early_[slot.context.seq.value % early_.size()] = &slot;
    while (Slot* const first = std::exchange(early_[next_ % early_.size()], nullptr)) {
      ++next_;
      go(*first);
    }
  }

 private:
  std::vector<Slot*> early_;
  std::uint64_t next_;
};

/// Bounds what is outstanding of a stage that completes later: TBB's limit on an async_node covers the submission only. A slot that finds no
/// place waits here instead of in a join before the node, whose reservations cost a third of an idle batch; when it gets one it is put into the
/// node again. First come, first served; in a stage in sequence nobody overtakes a slot that is on its way there. Thread-safe.
class Places {
 public:
  Places(const StagePlan& plan, std::size_t depth, std::function<void(Slot&)> put_again)
      : free_(plan.limit), is_in_sequence_(plan.is_in_sequence), put_again_(std::move(put_again)) {
    waiting_.reserve(depth);
  }

  /// At the node: whether the slot has a place. If not, it will come again.
  [[nodiscard]] bool enter(Slot& slot) {
    std::lock_guard lock(mutex_);
    if (slot.has_place) {
      slot.has_place = false;
      --on_the_way_;
      return true;
    }
    if (free_ > 0 && waiting_.empty() && (!is_in_sequence_ || on_the_way_ == 0)) {
      --free_;
      return true;
    }
    waiting_.push_back(&slot);
    give();
    return false;
  }
  void leave() {
    std::lock_guard lock(mutex_);
    ++free_;
    give();
  }

 private:
  // Under the lock, so that slots come to the node in the order in which they got their places. A node's try_put runs no body, and takes no lock of ours.
  void give() {
    while (free_ > 0 && !waiting_.empty()) {
      Slot& slot = *waiting_.front();
      waiting_.erase(waiting_.begin());
      slot.has_place = true;
      --free_;
      ++on_the_way_;
      put_again_(slot);
    }
  }

  std::mutex mutex_;  // guards all below but constants, and has_place of the slots that pass here
  std::size_t free_;
  std::size_t on_the_way_ = 0;  // got a place, and are not back yet
  const bool is_in_sequence_;
  std::vector<Slot*> waiting_;  // as many as there are credits at most
  const std::function<void(Slot&)> put_again_;
};

class Graph final : public Passage {
 public:
  explicit Graph(Run& run)
      : run_(run),
        source_(graph_, fg::serial, [this](Slot* slot, SourceNode::output_ports_type& out) { admit(slot, out); }),
        starts_(run.stages().size()) {
    run_.attach(*this);
    Tail tail{&fg::output_port<0>(source_), true};
    if (run_.counts_bytes()) tail = add_byte_gate(tail);
    for (std::size_t i = 0; i < run_.stages().size(); ++i) tail = run_.stages()[i].call ? add_call_stage(i, tail) : add_start_stage(i, tail);
    fg::make_edge(*tail.sender, source_);  // a retired slot is the credit for the next batch
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
  // Emits inside its body: a serial node of this kind keeps the order towards its successor.
  template <class Message>
  using OrderedNode = fg::multifunction_node<Message, SlotOut>;
  // Emits behind its body, so that two of a serial one's messages may change places; its successor's task need not be spawned, which is cheaper.
  template <class Message>
  using UnorderedNode = fg::function_node<Message, Slot*>;
  template <class Message>
  using StartNode = fg::async_node<Message, Slot*, fg::queueing>;
  using Gateway = StartNode<Slot*>::gateway_type;  // of every StartNode: it depends on the output alone

  /// Where slots come out of the part that is built so far.
  struct Tail {
    fg::sender<Slot*>* sender;
    bool is_in_sequence;
  };
  /// What the completion of an asynchronous stage needs.
  struct StartPlace {
    Gateway* gateway = nullptr;
    std::unique_ptr<Places> places = nullptr;  // null: the credits are limit enough
  };

  void admit(Slot* slot, SourceNode::output_ports_type& out) {
    if (!run_.admit(*slot)) return;
    std::get<0>(out).try_put(slot);
    pass_grants();
  }

  void call(std::size_t stage, Slot& slot) {
    run_.call(stage, slot);
    pass_version(stage);
    pass_grants();
  }
  void retire(Slot& slot) {
    run_.retire(slot);
    pass_grants();
  }

  // What a stage gives to others beside the slot.
  void pass_version(std::size_t stage) {
    if (run_.stages()[stage].publishes) versions_->try_put({});
  }
  void pass_grants() {
    if (!grants_) return;
    for (auto count = run_.grant_bytes(); count > 0; --count) grants_->try_put({});
  }

  void passed(std::size_t stage, Slot& slot) noexcept override {
    const auto& place = starts_[stage];
    pass_version(stage);
    place.gateway->try_put(&slot);
    if (place.places) place.places->leave();
    pass_grants();
    place.gateway->release_wait();  // the last touch of the graph
  }

  /// Holds back a batch until all before it have passed.
  [[nodiscard]] std::unique_ptr<Order> order_behind(const Tail& tail) const { return tail.is_in_sequence ? nullptr : std::make_unique<Order>(run_.depth(), run_.first()); }
  /// The same for a reserving join, which takes only from what can hold a message.
  fg::sender<Slot*>& buffered_in_sequence(const Tail& tail) {
    if (tail.is_in_sequence) {
      auto& waiting = keep<fg::queue_node<Slot*>>(graph_);
      fg::make_edge(*tail.sender, waiting);
      return waiting;
    }
    auto& sequencer = keep<fg::sequencer_node<Slot*>>(graph_, [first = run_.first().value](Slot* const& slot) -> std::size_t { return slot->context.seq.value - first; });
    fg::make_edge(*tail.sender, sequencer);
    return sequencer;
  }
  /// Slots of `sender`, each with a permission.
  fg::sender<std::tuple<Slot*, Permission>>& joined(fg::sender<Slot*>& sender, fg::queue_node<Permission>& permissions) {
    auto& join = keep<fg::join_node<std::tuple<Slot*, Permission>, fg::reserving>>(graph_);
    fg::make_edge(sender, fg::input_port<0>(join));
    fg::make_edge(permissions, fg::input_port<1>(join));
    return join;
  }

  // Batches come in sequence, and grants too: the k-th is the k-th batch's.
  Tail add_byte_gate(const Tail& tail) {
    using Joined = std::tuple<Slot*, Permission>;
    grants_ = &keep<fg::queue_node<Permission>>(graph_);
    auto& gate = keep<OrderedNode<Joined>>(graph_, fg::serial, [](const Joined& message, OrderedNode<Joined>::output_ports_type& out) { std::get<0>(out).try_put(slot_of(message)); });
    fg::make_edge(joined(buffered_in_sequence(tail), *grants_), gate);
    return {&fg::output_port<0>(gate), true};
  }

  Tail add_call_stage(std::size_t i, const Tail& tail) {
    const auto& plan = run_.stages()[i];
    if (plan.reads) return add_call_node<std::tuple<Slot*, Permission>>(i, joined(buffered_in_sequence(tail), add_versions()), nullptr);
    return add_call_node<Slot*>(i, *tail.sender, plan.is_in_sequence ? order_behind(tail) : nullptr);
  }

  template <class Message>
  Tail add_call_node(std::size_t i, fg::sender<Message>& from, std::unique_ptr<Order> order) {
    const auto& plan = run_.stages()[i];
    const bool is_sink = i + 1 == run_.stages().size();
    if (order || (plan.is_in_sequence && !is_sink)) {
      auto& node = keep<OrderedNode<Message>>(
          graph_, fg::serial, [this, i, is_sink, order = std::shared_ptr<Order>(std::move(order))](const Message& message, typename OrderedNode<Message>::output_ports_type& out) {
            const auto go = [&](Slot& slot) {
              call(i, slot);
              if (is_sink) retire(slot);
              std::get<0>(out).try_put(&slot);
            };
            if (order) order->pass(*slot_of(message), go);
            else go(*slot_of(message));
          });
      fg::make_edge(from, node);
      return {&fg::output_port<0>(node), true};
    }
    auto& node = keep<UnorderedNode<Message>>(graph_, is_sink ? std::size_t{fg::serial} : plan.limit, [this, i, is_sink](const Message& message) {
      Slot* slot = slot_of(message);
      call(i, *slot);
      if (is_sink) retire(*slot);
      return slot;
    });
    fg::make_edge(from, node);
    return {&node, false};
  }

  Tail add_start_stage(std::size_t i, const Tail& tail) {
    const auto& plan = run_.stages()[i];
    if (plan.reads) return add_start_node<std::tuple<Slot*, Permission>>(i, joined(buffered_in_sequence(tail), add_versions()), nullptr);
    return add_start_node<Slot*>(i, *tail.sender, plan.is_in_sequence ? order_behind(tail) : nullptr);
  }

  template <class Message>
  Tail add_start_node(std::size_t i, fg::sender<Message>& from, std::unique_ptr<Order> order) {
    const auto& plan = run_.stages()[i];
    auto& node = keep<StartNode<Message>>(
        graph_, plan.is_in_sequence ? std::size_t{fg::serial} : std::size_t{fg::unlimited},
        [this, i, order = std::shared_ptr<Order>(std::move(order))](const Message& message, typename StartNode<Message>::gateway_type& gateway) {
          const auto go = [&](Slot& slot) {
            if (auto& places = starts_[i].places; places && !places->enter(slot)) return;
            gateway.reserve_wait();
            run_.start(i, slot);
          };
          Slot& slot = *slot_of(message);
          // Who comes again has had its turn. Its has_place was written before it was put, and nobody else writes it until it enters.
          if (order && !slot.has_place) order->pass(slot, go);
          else go(slot);
        });
    starts_[i].gateway = &node.gateway();
    if (plan.limit < run_.depth()) {
      starts_[i].places = std::make_unique<Places>(plan, run_.depth(), [&node](Slot& slot) { node.try_put(message_of<Message>(slot)); });
    }
    fg::make_edge(from, node);
    // Never the node itself: registering a successor there is a silent no-op.
    return {&fg::output_port<0>(node), plan.is_in_sequence && plan.limit == 1};
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
  fg::queue_node<Permission>* grants_ = nullptr;
  std::vector<StartPlace> starts_;  // by stage
  std::vector<std::unique_ptr<fg::graph_node>> nodes_;
};

}  // namespace

void run_on_flow_graph(Run& run, std::size_t threads) {
  // Once anything in the process has used oneTBB, it has a worker a core at most, whatever an arena asks for, unless this says otherwise.
  std::optional<oneapi::tbb::global_control> more_than_cores;
  if (threads > static_cast<std::size_t>(oneapi::tbb::info::default_concurrency())) more_than_cores.emplace(oneapi::tbb::global_control::max_allowed_parallelism, threads);
  oneapi::tbb::task_arena arena(threads ? static_cast<int>(threads) : oneapi::tbb::task_arena::automatic);
  arena.execute([&] { Graph(run).drive(); });
}

}  // namespace pipestill::graph::detail
