#pragma once
// From a recipe's section to a training client.
#include <boost/json/object.hpp>
#include <memory>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// `section` is the resolved `student` section. Its key `client` picks the adapter, which reads the keys of its description; keys that are
/// missing have their defaults there, and keys of others are not looked at. A wrong client, type or value is ErrorCode::invalid_input,
/// naming the key.
[[nodiscard]] Result<std::shared_ptr<TrainingClient>> make_training_client(const boost::json::object& section,
                                                                           std::shared_ptr<Clock> clock);

/// One for each value of `client`; the names of keys are relative to the section.
[[nodiscard]] std::vector<Description> describe_training_clients();

}  // namespace pipestill
