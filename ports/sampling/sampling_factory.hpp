#pragma once
// From a recipe's section to a sampling client.
#include <boost/json/object.hpp>
#include <memory>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

/// `section` is the resolved `teacher` section. Its key `client` picks the adapter, which reads the keys of its description; keys that are
/// missing have their defaults there, and keys of others are not looked at. A wrong client, type or value is ErrorCode::invalid_input,
/// naming the key.
[[nodiscard]] Result<std::shared_ptr<SamplingClient>> make_sampling_client(const boost::json::object& section,
                                                                           std::shared_ptr<Clock> clock);

/// One for each value of `client`; the names of keys are relative to the section.
[[nodiscard]] std::vector<Description> describe_sampling_clients();

}  // namespace pipestill
