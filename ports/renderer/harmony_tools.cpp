#include "ports/renderer/harmony_tools.hpp"

#include <cstddef>
#include <string_view>
#include <unordered_set>

namespace pipestill {
namespace {

std::string typescript_of(const PythonJson& schema);

template <class F>
std::string alternatives(const PythonJson::Elements& list, F text_of) {
  std::string text;
  for (std::size_t i = 0; i < list.size(); ++i) text += (i > 0 ? " | " : "") + text_of(list[i]);
  return text;
}

/// The properties of an object's schema, and which of them it must have.
class ObjectSchema {
 public:
  explicit ObjectSchema(const PythonJson& schema) {
    if (const auto* found = schema.find(U"properties")) properties_ = found->members();
    const auto* required = schema.find(U"required");
    const auto* names = required ? required->elements() : nullptr;
    if (!names) return;
    for (const auto& name : *names) {
      if (const auto* points = name.code_points()) required_.insert(*points);
    }
  }
  [[nodiscard]] bool has_properties() const { return properties_ && !properties_->empty(); }
  [[nodiscard]] const PythonJson::Members& properties() const {
    static const PythonJson::Members none;
    return properties_ ? *properties_ : none;
  }
  /// `name: type`, or `name?: type` if the object may lack it.
  [[nodiscard]] std::string declaration(const PythonJson::Members::value_type& property) const {
    return utf8_of(property.first) + (required_.contains(property.first) ? ": " : "?: ") + typescript_of(property.second);
  }

 private:
  const PythonJson::Members* properties_ = nullptr;
  std::unordered_set<std::u32string_view> required_;
};

std::string object_type(const PythonJson& schema) {
  const ObjectSchema object(schema);
  std::string text;
  for (const auto& property : object.properties()) text += (text.empty() ? "" : ", ") + object.declaration(property);
  return "{ " + text + " }";
}

std::string named_type(std::string_view type, const PythonJson& schema) {
  if (type == "string" || type == "boolean") return std::string(type);
  if (type == "number" || type == "integer") return "number";
  if (type == "object") return object_type(schema);
  if (type != "array") return "any";
  const auto* items = schema.find(U"items");
  return (items ? typescript_of(*items) : "any") + "[]";
}

/// One of a list of types. As the reference has it, the schema's other keys say nothing of it.
std::string single_type(const PythonJson& type) {
  if (const auto* list = type.elements()) return alternatives(*list, single_type);
  return named_type(type.text().value_or(""), type);
}

std::string typescript_of(const PythonJson& schema) {
  for (const char32_t* key : {U"oneOf", U"anyOf"}) {
    const auto* found = schema.find(key);
    if (const auto* list = found ? found->elements() : nullptr) return alternatives(*list, typescript_of);
  }
  const auto* type = schema.find(U"type");
  if (const auto* list = type ? type->elements() : nullptr) return alternatives(*list, single_type);
  const auto name = type ? type->text().value_or("") : "";
  const auto* values = schema.find(U"enum");
  if (const auto* list = values && name == "string" ? values->elements() : nullptr) return alternatives(*list, [](const PythonJson& one) { return one.dumps(); });
  const auto* nullable = schema.find(U"nullable");
  return named_type(name, schema) + (nullable && nullable->is_truthy() ? " | null" : "");
}

/// A string as it is, anything else as JSON.
std::string shown_value(const PythonJson& value) { return value.code_points() ? *value.text() : value.dumps(); }

const PythonJson* truthy(const PythonJson& schema, const char32_t* key) {
  const auto* value = schema.find(key);
  return value && value->is_truthy() ? value : nullptr;
}

/// Lines of comment on a property: its title, its description, its examples.
std::string property_comments(const PythonJson& schema) {
  std::string text;
  if (const auto* title = truthy(schema, U"title")) text += "// " + shown_value(*title) + "\n// \n";
  if (const auto* description = truthy(schema, U"description")) text += "// " + shown_value(*description) + "\n";
  const auto* examples = truthy(schema, U"examples");
  if (const auto* list = examples ? examples->elements() : nullptr) {
    text += "// Examples:\n";
    for (const auto& example : *list) text += "// - " + example.dumps() + "\n";
  }
  return text;
}

std::string parameters_block(const PythonJson* schema) {
  const auto* type = schema ? schema->find(U"type") : nullptr;
  if (!type || type->text() != "object") return "()";
  const ObjectSchema object(*schema);
  if (!object.has_properties()) return "()";
  std::string text = "(_:";
  if (const auto* description = truthy(*schema, U"description")) text += " // " + shown_value(*description);
  text += "\n{\n";
  for (const auto& property : object.properties()) {
    text += property_comments(property.second) + object.declaration(property) + ",";
    if (const auto* value = property.second.find(U"default")) text += " // default: " + value->dumps();
    text += "\n";
  }
  return text + "})";
}

}  // namespace

std::string harmony_namespace(const std::vector<ToolSpec>& tools) {
  std::string text = "# Tools\n\n## functions\n\nnamespace functions {\n\n";
  for (const auto& tool : tools) {
    if (tool.description && !tool.description->empty()) text += "// " + *tool.description + "\n";
    text += "type " + tool.name + " = " + parameters_block(tool.parameters()) + " => any;\n\n";
  }
  return text + "} // namespace functions";
}

}  // namespace pipestill
