#include "graph/base/error.hpp"

#include <exception>

namespace pipestill {

Error thrown_error(std::string_view what) {
  try {
    throw;
  } catch (const std::exception& e) {
    return {ErrorCode::internal, std::string(what) + ": " + e.what()};
  } catch (...) {
    return {ErrorCode::internal, std::string(what) + " of an unknown type"};
  }
}

}  // namespace pipestill
