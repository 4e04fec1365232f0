#include "ports/renderer/harmony_tools.hpp"

#include <algorithm>
#include <string_view>

namespace pipestill {
namespace {

std::string typescript_of(const PythonJson& schema);

template <class F>
std::string alternatives(const PythonJson::Elements& list, F text_of) {
  std::string text;
  for (const auto& one : list) text += (text.empty() ? "" : " | ") + text_of(one);
  return text;
}

/// `name: type`, or `name?: type` if the object may lack it.
std::string typescript_property(const PythonJson::Members::value_type& property, const PythonJson& object) {
  const auto* required = object.find(U"required");
  const auto* names = required ? required->elements() : nullptr;
  const auto name = utf8_of(property.first);
  const bool is_required = names && std::ranges::any_of(*names, [&](const auto& one) { return one.text() == name; });
  return name + (is_required ? ": " : "?: ") + typescript_of(property.second);
}

const PythonJson::Members* properties_of(const PythonJson& schema) {
  const auto* properties = schema.find(U"properties");
  return properties ? properties->members() : nullptr;
}

std::string object_type(const PythonJson& schema) {
  std::string text;
  if (const auto* properties = properties_of(schema)) {
    for (const auto& property : *properties) text += (text.empty() ? "" : ", ") + typescript_property(property, schema);
  }
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

std::string typescript_of(const PythonJson& schema) {
  for (const char32_t* key : {U"oneOf", U"anyOf"}) {
    const auto* found = schema.find(key);
    if (const auto* list = found ? found->elements() : nullptr) return alternatives(*list, typescript_of);
  }
  const auto* type = schema.find(U"type");
  if (const auto* list = type ? type->elements() : nullptr) {
    // As the reference does: the schema's other keys say nothing of the single types.
    return alternatives(*list, [](const PythonJson& one) { return named_type(one.text().value_or(""), one); });
  }
  const auto name = type ? type->text().value_or("") : "";
  const auto* values = schema.find(U"enum");
  if (const auto* list = values && name == "string" ? values->elements() : nullptr) return alternatives(*list, [](const PythonJson& one) { return one.dumps(); });
  const auto* nullable = schema.find(U"nullable");
  return named_type(name, schema) + (nullable && nullable->is_truthy() ? " | null" : "");
}

/// A string as it is, anything else as JSON.
std::string shown_value(const PythonJson& value) { return value.text().value_or(value.dumps()); }

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
  const auto* properties = schema ? properties_of(*schema) : nullptr;
  if (!type || type->text() != "object" || !properties || properties->empty()) return "()";
  std::string text = "(_:";
  if (const auto* description = truthy(*schema, U"description")) text += " // " + shown_value(*description);
  text += "\n{\n";
  for (const auto& property : *properties) {
    text += property_comments(property.second) + typescript_property(property, *schema) + ",";
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
