// pipestill describe: what every stage and adapter reads from a recipe.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "nodes/describe.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/training/training_factory.hpp"

namespace pipestill::app {
namespace {

struct Group {
  std::string title, section;  // `section`: what its keys are relative to
  std::vector<Description> members;
};

std::vector<Group> all_groups() {
  auto teacher = describe_sampling_clients();
  auto student = describe_training_clients();
  return {{"The run", "", {describe_run(), describe_student()}},
          {"Stages of off_policy", "", describe_stages(Method::off_policy)},
          {"Stages of on_policy", "", describe_stages(Method::on_policy)},
          {"Stages of supervised", "", describe_stages(Method::supervised)},
          {"Teachers (teacher.client)", "teacher.", std::move(teacher)},
          {"Students (student.client)", "student.", std::move(student)},
          {"Renderers (student.renderer)", "", Renderer::describe_all()}};
}

const char* type_name(KeyInfo::Type type) {
  switch (type) {
    case KeyInfo::Type::boolean: return "boolean";
    case KeyInfo::Type::integer: return "integer";
    case KeyInfo::Type::number: return "number";
    case KeyInfo::Type::string: return "string";
    case KeyInfo::Type::string_list: return "list of strings";
    case KeyInfo::Type::section: return "section";
  }
  return "?";
}

boost::json::object to_json(const KeyInfo& key, const std::string& section) {
  boost::json::object out{{"name", section + key.name}, {"type", type_name(key.type)}, {"help", key.help}, {"required", key.is_required}, {"nullable", key.is_nullable}};
  if (!key.default_value.empty()) out["default"] = boost::json::parse(key.default_value);
  if (!key.choices.empty()) out["choices"] = boost::json::array(key.choices.begin(), key.choices.end());
  if (key.minimum) out["minimum"] = *key.minimum;
  if (key.maximum) out["maximum"] = *key.maximum;
  return out;
}

std::string as_text(const KeyInfo& key, const std::string& section) {
  std::string text = "    " + section + key.name;
  text += std::string(text.size() < 38 ? 38 - text.size() : 1, ' ') + type_name(key.type);
  for (std::size_t i = 0; i < key.choices.size(); ++i) text += (i ? "|" : ": ") + key.choices[i];
  text += key.is_required ? ", required" : key.default_value.empty() ? "" : ", default " + key.default_value;
  return text + "\n" + std::string(38, ' ') + key.help + "\n";
}

int run_describe(const std::string& name, bool json) {
  boost::json::array out;
  bool has_found = name.empty();
  for (const auto& group : all_groups()) {
    std::string text = group.title + "\n";
    bool has_member = false;
    for (const auto& member : group.members) {
      if (!name.empty() && member.name != name) continue;
      has_found = has_member = true;
      boost::json::array keys;
      text += "\n  " + member.name + ": " + member.summary + "\n";
      for (const auto& key : member.keys) {
        text += as_text(key, group.section);
        keys.push_back(to_json(key, group.section));
      }
      out.push_back(boost::json::object{{"group", group.title}, {"name", member.name}, {"summary", member.summary}, {"keys", std::move(keys)}});
    }
    if (has_member && !json) std::printf("%s\n", text.c_str());
  }
  if (!has_found) return report({ErrorCode::invalid_input, "nothing here is called \"" + name + "\": `pipestill describe` lists all names"});
  if (json) std::puts(boost::json::serialize(out).c_str());
  return kDone;
}

}  // namespace

void add_describe(CLI::App& program, Action& action) {
  struct Arguments {
    std::string name;
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto& command = *program.add_subcommand("describe", "Print what every stage and adapter is, and the recipe keys it reads");
  command.add_option("NAME", arguments->name, "Only this stage or adapter");
  command.add_flag("--json", arguments->json, "Print a JSON list");
  command.footer("Example: pipestill describe forward_backward");
  command.callback([arguments, &action] { action = [arguments] { return run_describe(arguments->name, arguments->json); }; });
}

}  // namespace pipestill::app
