#pragma once
// The executors that a test of engine behaviour runs on.
#include <string>
#include <vector>

#include "graph/engine.hpp"

namespace pipestill::test {

struct ExecutorCase {
  std::string name;
  graph::Executor executor;
  std::size_t threads;
};

inline std::vector<ExecutorCase> executors() {
  std::vector<ExecutorCase> all{{"small, 1 thread", graph::Executor::small, 1}, {"small, 3 threads", graph::Executor::small, 3}};
#ifdef PIPESTILL_WITH_TBB
  all.push_back({"flow graph, 1 thread", graph::Executor::flow_graph, 1});
  all.push_back({"flow graph, 2 threads", graph::Executor::flow_graph, 2});
#endif
  return all;
}

}  // namespace pipestill::test
