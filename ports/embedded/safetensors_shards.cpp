#include <boost/json/serialize.hpp>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "ports/embedded/safetensors.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace fs = std::filesystem;

namespace pipestill {
namespace {

namespace json = boost::json;

fs::path index_of(const fs::path& file) { return file.parent_path() / (file.filename().string() + ".index.json"); }

/// The index's "weight_map": by tensor, the name of its shard.
Result<std::map<std::string, std::string>> read_index(const fs::path& index) {
  const auto bad = [&index](const std::string& why) { return fail(ErrorCode::invalid_input, index.string() + " " + why); };
  const auto text = read_text_file(index);
  if (!text) return fail(text.error());
  const auto root = parse_strict_json(*text, index.string(), text->size());
  if (!root) return fail(root.error());
  const auto* object = root->if_object();
  const auto* listed = object ? object->if_contains("weight_map") : nullptr;
  const auto* entries = listed ? listed->if_object() : nullptr;
  if (!entries || entries->empty()) return bad("is damaged: it is not a JSON object with a \"weight_map\" of tensors and their files");
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : *entries) {
    const auto* text_of_shard = shard.if_string();
    const std::string name = text_of_shard ? std::string(*text_of_shard) : std::string();
    if (name.empty() || name == "." || name == ".." || fs::path(name).filename() != name)
      return bad("names " + printable(json::serialize(shard)) + " as the file of tensor \"" + printable(tensor) +
                 "\"; the name of a file beside it is accepted");
    shards.emplace(tensor, name);
  }
  return shards;
}

}  // namespace

bool checkpoint_exists(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) || fs::exists(index_of(file), ignored);
}

Result<std::vector<SafetensorsFile>> open_checkpoint(const fs::path& file) {
  std::vector<SafetensorsFile> files;
  const auto index = index_of(file);
  if (std::error_code ignored; fs::exists(file, ignored) || !fs::exists(index, ignored)) {
    auto opened = SafetensorsFile::open(file);
    if (!opened) return fail(std::move(opened.error()));
    files.push_back(std::move(*opened));
    return files;
  }

  const auto places = read_index(index);
  if (!places) return fail(places.error());
  std::set<std::string> names;
  for (const auto& [tensor, name] : *places) names.insert(name);
  std::size_t count = 0;
  for (const auto& name : names) {
    auto opened = SafetensorsFile::open(file.parent_path() / name);
    if (!opened) return fail(std::move(opened.error()));
    for (const auto& tensor : opened->tensors()) {
      const auto place = places->find(tensor.name);
      if (place == places->end() || place->second != name) {
        return fail(ErrorCode::invalid_input, opened->path().string() + " has the tensor \"" + printable(tensor.name) + "\", which " + index.string() +
                                                  (place == places->end() ? " does not list" : " places in " + printable(place->second)));
      }
    }
    count += opened->tensors().size();
    files.push_back(std::move(*opened));
  }
  if (count == places->size()) return files;
  for (const auto& [tensor, name] : *places) {
    for (const auto& shard : files) {
      if (shard.path().filename() == name && !shard.find(tensor))
        return fail(ErrorCode::invalid_input,
                    shard.path().string() + " lacks the tensor \"" + printable(tensor) + "\", which " + index.string() + " places there");
    }
  }
  return files;
}

}  // namespace pipestill
