#include "nodes/capability_check.hpp"

#include <algorithm>
#include <string_view>

#include "nodes/model_path.hpp"
#include "ports/printable.hpp"

namespace pipestill {
namespace {

std::string_view name_of(Normalization normalization) {
  switch (normalization) {
    case Normalization::token_mean:
      return "token_mean";
    case Normalization::seq_mean:
      return "seq_mean";
    case Normalization::sum:
      return "sum";
  }
  return "?";
}

void append(std::string& list, std::string_view name) {
  if (!list.empty()) list += ", ";
  list += name;
}

}  // namespace

Result<void> check_teacher(const Recipe& recipe, const Recipe::Teacher& teacher, const SamplingCapabilities& capabilities) {
  if (recipe.method == Method::on_policy && !capabilities.has_prompt_logprobs) {
    return fail(ErrorCode::invalid_input,
                teacher.key + ".client: \"" + teacher.client +
                    "\" cannot score given tokens, which method on_policy needs; method off_policy would do without");
  }
  return {};
}

Result<void> check_shared_tokens(const Recipe& recipe, const Recipe::Teacher& teacher, const SamplingClient& client, const Tokenizer& students) {
  const auto own = client.tokenizer_fingerprint(teacher_model(recipe, teacher));
  if (!own) {
    return fail(own.error().code, teacher.key + ".teacher_model: its tokenizer cannot be compared with the student's: " + own.error().message);
  }
  if (!*own || **own == students.fingerprint()) return {};
  return fail(ErrorCode::invalid_input, teacher.key + ".teacher_model: the tokenizer of " + printable(teacher.teacher_model) + " has the fingerprint " + **own +
                                            ", and the student's, student.tokenizer " + printable(recipe.student.tokenizer) + ", " + students.fingerprint() +
                                            ": method " + std::string(to_string(recipe.method)) +
                                            " shares tokens between the two, so they must have the same tokenizer");
}

Result<void> check_vocabulary(const Recipe& recipe, const TrainingClient& student, const Tokenizer& tokenizer) {
  const auto known = student.vocab_size(student_model(recipe));
  if (!known) return fail(known.error());
  if (!*known || tokenizer.vocab_size() <= **known) return {};
  return fail(ErrorCode::invalid_input, "student.model: " + printable(recipe.student.model) + " knows " + std::to_string(**known) + " tokens, and student.tokenizer " +
                                            printable(recipe.student.tokenizer) + " makes " + std::to_string(tokenizer.vocab_size()) +
                                            "; take the model's own tokenizer, or a model with at least as many");
}

Result<void> check_student(const Recipe& recipe, const TrainingCapabilities& student) {
  const auto& [loss, normalization, micro_batch_rows] = recipe.training.loss;
  const std::string client = "student.client \"" + recipe.student.client + "\"";
  if (std::ranges::find(student.losses, loss) == student.losses.end()) {
    std::string accepted;
    for (const auto& name : student.losses) append(accepted, name);
    return fail(ErrorCode::invalid_input, "training.loss: " + client + " has no loss \"" + loss + "\"; it has " + accepted);
  }
  if (std::ranges::find(student.normalizations, normalization) == student.normalizations.end()) {
    std::string accepted;
    for (const auto known : student.normalizations) append(accepted, name_of(known));
    return fail(ErrorCode::invalid_input,
                "training.normalization: " + client + " has no \"" + std::string(name_of(normalization)) + "\"; it has " + accepted);
  }
  if (micro_batch_rows != 0 && !student.has_micro_batches) {
    return fail(ErrorCode::invalid_input, "training.micro_batch_rows: " + client + " computes a batch as a whole and cannot take it " +
                                              std::to_string(micro_batch_rows) + " rows at a time; 0 is accepted");
  }
  if (recipe.method == Method::on_policy && !student.can_sample_snapshots_in_training) {
    return fail(ErrorCode::invalid_input,
                "method: on_policy samples the student while it trains, which " + client + " cannot do; off_policy would do without");
  }
  return {};
}

std::vector<std::string> nondeterminism(Method method, std::span<const SamplingCapabilities> teachers,
                                        const TrainingCapabilities& student, const std::optional<SamplingCapabilities>& snapshot) {
  std::vector<std::string> reasons;
  const auto check_samplers = [&](const std::string& who, std::span<const SamplingCapabilities> samplers) {
    if (!std::ranges::all_of(samplers, &SamplingCapabilities::is_seeded)) reasons.push_back(who + " takes no seed: the same request may get another answer");
    if (!std::ranges::all_of(samplers, &SamplingCapabilities::is_deterministic)) reasons.push_back(who + " may answer otherwise when other requests run beside it");
  };
  const std::string who = teachers.size() > 1 ? "a teacher" : "the teacher";
  if (method == Method::off_policy) check_samplers(who, teachers);
  if (method == Method::on_policy) {
    if (!std::ranges::all_of(teachers, &SamplingCapabilities::is_deterministic)) reasons.push_back(who + " may score otherwise when other requests run beside it");
    if (snapshot) check_samplers("the student", {&*snapshot, 1});
  }
  if (!student.is_deterministic) reasons.push_back("the student's training does not repeat to the bit");
  return reasons;
}

}  // namespace pipestill
