#include "ports/checkpoint/checkpoint_store.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "ports/durable_file.hpp"
#include "ports/fault_point.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace fs = std::filesystem;
namespace json = boost::json;

namespace pipestill {
namespace {

constexpr std::string_view kFormat = "pipestill checkpoint 1";
constexpr std::string_view kManifest = "manifest.json";
constexpr std::string_view kStudent = "student";
constexpr std::string_view kStepPrefix = "step-", kVersionPrefix = "version-", kPart = ".part", kRemoved = ".removed", kDamaged = ".damaged";
constexpr std::size_t kMaxFiles = 4096;

std::string numbered(std::string_view prefix, std::uint64_t number) { return fmt::format("{}{:08}", prefix, number); }

/// The number of a name that numbered() gives.
std::optional<std::uint64_t> number_of(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const auto digits = name.substr(prefix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || numbered(prefix, number) != name) return std::nullopt;
  return number;
}

Result<void> make_directory(const fs::path& path) {
  std::error_code error;
  if (fault_point("directory.make") != 0) error = std::make_error_code(std::errc::io_error);
  if (!error) fs::create_directories(path, error);
  if (error) return fail(ErrorCode::backend_failed, "cannot make the directory " + path.string() + ": " + error.message());
  return {};
}

/// Below `directory`, with their names from there on, in the order of the names.
Result<std::map<std::string, FileDigest>> digests_below(const fs::path& directory) {
  std::map<std::string, FileDigest> found;
  std::error_code error;
  for (fs::recursive_directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (at->is_directory(error)) continue;
    auto digest = digest_of_file(at->path());
    if (!digest) return fail(std::move(digest.error()));
    found.emplace(at->path().lexically_relative(directory).generic_string(), *std::move(digest));
  }
  if (error) return fail(ErrorCode::backend_failed, "cannot read " + directory.string() + ": " + error.message());
  return found;
}

json::object to_manifest(const CheckpointFacts& facts, const std::map<std::string, FileDigest>& files) {
  json::object identity, list;
  for (const auto& [name, value] : facts.identity) identity[name] = value;
  for (const auto& [name, digest] : files) list[name] = {{"bytes", digest.bytes}, {"sha256", digest.sha256}};
  return {{"format", kFormat}, {"step", facts.step}, {"ledger_digest", facts.ledger_digest}, {"identity", std::move(identity)}, {"files", std::move(list)}};
}

struct Manifest {
  CheckpointFacts facts;
  std::map<std::string, FileDigest> files;
};

/// The manifest is untrusted: only its sums say whether a file is the one that was written.
class ManifestReader {
 public:
  explicit ManifestReader(std::string place) : place_(std::move(place)) {}

  Result<Manifest> read(std::string_view text) const {
    const auto document = parse_strict_json(text, place_);
    if (!document) return fail(document.error());
    const auto* object = document->if_object();
    if (!object) return refuse("must be a JSON object");
    const auto* format = object->if_contains("format");
    if (!format || !format->is_string() || std::string_view(format->get_string()) != kFormat) return refuse(fmt::format("has another \"format\" than \"{}\"", kFormat));
    Manifest manifest;
    const auto step = number(*object, "step");
    const auto ledger = this->text(*object, "ledger_digest");
    const auto* identity = section(*object, "identity");
    const auto* files = section(*object, "files");
    if (!step || !ledger || !identity || !files) return refuse("needs step (a whole number), ledger_digest (a text), identity and files (objects)");
    manifest.facts.step = *step;
    manifest.facts.ledger_digest = *ledger;
    for (const auto& [name, value] : *identity) {
      if (!value.is_string()) return refuse("has an identity that is no text: " + printable(name));
      manifest.facts.identity.emplace(name, value.get_string());
    }
    if (files->size() > kMaxFiles) return refuse(fmt::format("names {} files; at most {} can be read", files->size(), kMaxFiles));
    for (const auto& [name, value] : *files) {
      const auto* entry = value.if_object();
      const auto bytes = entry ? number(*entry, "bytes") : std::nullopt;
      const auto sha256 = entry ? this->text(*entry, "sha256") : std::nullopt;
      if (!bytes || !sha256) return refuse("must give bytes and sha256 of " + printable(name));
      if (!is_inside(name)) return refuse("names a file outside the checkpoint: " + printable(name));
      manifest.files.emplace(name, FileDigest{*bytes, *sha256});
    }
    return manifest;
  }

 private:
  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& what) const { return fail(ErrorCode::invalid_input, place_ + " " + what); }

  static std::optional<std::uint64_t> number(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (!value || !value->is_int64() || value->get_int64() < 0) return std::nullopt;
    return static_cast<std::uint64_t>(value->get_int64());
  }
  static std::optional<std::string> text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (!value || !value->is_string()) return std::nullopt;
    return std::string(value->get_string());
  }
  static const json::object* section(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value ? value->if_object() : nullptr;
  }
  static bool is_inside(std::string_view name) {
    const fs::path path(name);
    return !name.empty() && name != "." && name.find('\0') == name.npos && path.is_relative() && path.lexically_normal() == path && *path.begin() != "..";
  }

  std::string place_;
};

}  // namespace

fs::path CheckpointStore::path_of(std::uint64_t step) const { return directory_ / numbered(kStepPrefix, step); }

std::vector<std::uint64_t> CheckpointStore::steps() const {
  std::vector<std::uint64_t> steps;
  std::error_code error;
  for (fs::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
    if (const auto step = number_of(at->path().filename().string(), kStepPrefix)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Result<void> CheckpointStore::write(const StudentCheckpoint& checkpoint, const fs::path& into) const {
  const auto student = into / kStudent;
  if (auto made = make_directory(student); !made) return made;
  if (auto saved = checkpoint.student->save(student); !saved) return saved;
  for (const auto& [version, sampler] : checkpoint.versions) {
    const auto directory = into / numbered(kVersionPrefix, version);
    if (auto made = make_directory(directory); !made) return made;
    if (auto saved = sampler->save_weights(directory); !saved) return saved;
  }
  const auto files = digests_below(into);
  if (!files) return fail(files.error());
  return write_file_atomically(into / kManifest, json::serialize(to_manifest(checkpoint.facts, *files)) + "\n");
}

Result<void> CheckpointStore::save(const StudentCheckpoint& checkpoint) {
  const auto place = path_of(checkpoint.facts.step);
  const fs::path part = place.string() + std::string(kPart), removed = place.string() + std::string(kRemoved);
  std::error_code ignored;
  const auto undo = [&](Result<void> failure) {
    fs::remove_all(part, ignored);
    return failure;
  };
  clear_leftovers();
  if (auto made = make_directory(part); !made) return undo(std::move(made));
  if (auto written = write(checkpoint, part); !written) return undo(std::move(written));
  fault_point("checkpoint.before_rename");
  if (fs::exists(place, ignored)) {
    if (auto renamed = rename_durably(place, removed); !renamed) return undo(std::move(renamed));
  }
  if (auto renamed = rename_durably(part, place); !renamed) return undo(std::move(renamed));
  fault_point("checkpoint.after_rename");
  retain(checkpoint.facts.step);
  clear_leftovers();
  fault_point("checkpoint.after_retention");
  return {};
}

void CheckpointStore::clear_leftovers() const {
  std::error_code error, ignored;
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
    const auto name = at->path().filename().string();
    if (name.ends_with(kPart) || name.ends_with(kRemoved)) leftovers.push_back(at->path());
  }
  for (const auto& path : leftovers) fs::remove_all(path, ignored);
}

/// Renamed before they are removed: what is half gone has no checkpoint's name.
void CheckpointStore::retain(std::uint64_t newest) const {
  auto all = steps();
  std::erase_if(all, [&](std::uint64_t step) { return step > newest; });
  const auto last = std::max<std::size_t>(retention_.keep_last, 1);
  for (std::size_t i = 0; i + last < all.size(); ++i) {
    if (retention_.keep_every > 0 && all[i] % retention_.keep_every == 0) continue;
    std::error_code ignored;
    fs::rename(path_of(all[i]), path_of(all[i]).string() + std::string(kRemoved), ignored);
  }
}

Result<SavedCheckpoint> CheckpointStore::open(std::uint64_t step) const {
  const auto place = path_of(step);
  const auto text = read_text_file(place / kManifest, kMaxJsonBytes);
  if (!text) return fail(text.error());
  auto manifest = ManifestReader((place / kManifest).string()).read(*text);
  if (!manifest) return fail(std::move(manifest.error()));
  if (manifest->facts.step != step) return fail(ErrorCode::invalid_input, fmt::format("{} says that it is of step {}", (place / kManifest).string(), manifest->facts.step));
  for (const auto& [name, expected] : manifest->files) {
    const auto found = digest_of_file(place / name);
    if (!found) return fail(found.error());
    if (*found == expected) continue;
    const auto shown = printable((place / name).string(), 300);
    return fail(ErrorCode::invalid_input, found->bytes != expected.bytes ? fmt::format("{} has {} bytes; the manifest says {}", shown, found->bytes, expected.bytes)
                                                                         : fmt::format("{} has another SHA-256 than the manifest says", shown));
  }
  SavedCheckpoint saved{.facts = std::move(manifest->facts), .student = place / kStudent};
  bool has_student = false;
  for (const auto& [name, digest] : manifest->files) {
    const auto folder = fs::path(name).begin()->string();
    has_student = has_student || folder == kStudent;
    if (const auto version = number_of(folder, kVersionPrefix)) saved.versions[*version] = place / folder;
  }
  if (!has_student) return fail(ErrorCode::invalid_input, (place / kManifest).string() + " names no file of the student");
  return saved;
}

std::optional<SavedCheckpoint> CheckpointStore::newest(std::uint64_t last, const std::function<void(const Error&)>& skipped) const {
  const auto all = steps();
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    if (*step > last) {
      skipped({ErrorCode::invalid_input, fmt::format("{} is not used: the ledger ends at batch {}", path_of(*step).string(), last)});
      continue;
    }
    auto saved = open(*step);
    if (saved) return *std::move(saved);
    skipped({ErrorCode::invalid_input, fmt::format("{} is damaged and not used: {}", path_of(*step).string(), saved.error().message)});
  }
  return std::nullopt;
}

Result<void> CheckpointStore::set_aside_behind(std::uint64_t step) {
  for (const auto behind : steps()) {
    if (behind <= step) continue;
    const fs::path aside = path_of(behind).string() + std::string(kDamaged);
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    if (auto renamed = rename_durably(path_of(behind), aside); !renamed) return renamed;
  }
  return {};
}

}  // namespace pipestill
