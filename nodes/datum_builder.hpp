#pragma once
// datum_builder: answers become training examples.
#include <cstddef>
#include <optional>
#include <vector>

#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/prompt.hpp"
#include "nodes/recipe.hpp"

namespace pipestill {

struct DatumBuilderOptions {
  Method method = Method::off_policy;
  std::vector<PromptRenderer> prompts = {};  ///< by Row::dataset; used in supervised only
  std::size_t max_length = 2048;
};

/// A stage for any order that returns its result; several threads may call it at once. A row without a trained token is dropped.
class DatumBuilder {
 public:
  explicit DatumBuilder(DatumBuilderOptions options) : options_(std::move(options)) {}
  static Description describe();

  /// off_policy: the teacher's tokens as targets, as they are. on_policy: the student's tokens with advantages.
  [[nodiscard]] Result<DatumBatch> operator()(SampledBatch batch, graph::Context& context) const;
  /// supervised: the conversation's last message, rendered.
  [[nodiscard]] Result<DatumBatch> operator()(PromptBatch batch, graph::Context& context) const;

 private:
  // Empty: too short to predict anything.
  [[nodiscard]] Result<std::optional<Datum>> build(const SampledRow& row) const;
  [[nodiscard]] Result<std::optional<Datum>> build(Row& row) const;

  DatumBuilderOptions options_;
};

}  // namespace pipestill
