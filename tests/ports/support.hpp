#pragma once
// What several tests of the ports need.
#include <unistd.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "graph/base/clock.hpp"
#include "graph/base/completion.hpp"

namespace pipestill::testing {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A directory of its own, gone with the object.
class TempDir {
 public:
  TempDir() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() / ("pipestill-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {  // a database whose last holder is a thread of its own may be taking its files away meanwhile
    std::error_code error;
    do std::filesystem::remove_all(path_, error);
    while (error == std::errc::no_such_file_or_directory || error == std::errc::directory_not_empty);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string text(const boost::json::value& value) { return std::string(value.as_string()); }

/// Keeps what a completion was called with, and counts the calls.
template <class T>
struct Answer {
  struct State {
    std::optional<Result<T>> result = std::nullopt;
    int calls = 0;
  };
  std::shared_ptr<State> state = std::make_shared<State>();

  [[nodiscard]] Completion<T> completion() const {
    return Completion<T>([s = state](Result<T> result) {
      s->result.emplace(std::move(result));
      ++s->calls;
    });
  }
  [[nodiscard]] bool is_there() const { return state->calls > 0; }
  [[nodiscard]] int calls() const { return state->calls; }
  [[nodiscard]] bool is_ok() const { return is_there() && state->result->has_value(); }
  [[nodiscard]] T& value() const { return state->result.value().value(); }
  [[nodiscard]] const Error& error() const { return state->result.value().error(); }
};

inline void run_all(SimulatedClock& clock) {
  while (clock.advance()) {
  }
}

}  // namespace pipestill::testing
