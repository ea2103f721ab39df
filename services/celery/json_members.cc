#include "services/celery/json_members.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace parley::celery {
namespace {

using nlohmann::json;

// Takes the parser's events and writes them down again, a text for each member of the object.
class MemberWriter : public nlohmann::json_sax<json> {
 public:
  std::map<std::string, std::string> TakeMembers() { return std::move(members_); }

  bool null() override { return Write("null"); }
  bool boolean(bool value) override { return Write(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return Write(absl::StrCat(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Write(absl::StrCat(value)); }
  bool number_float(number_float_t /*value*/, const string_t& written) override {
    return Write(written);
  }
  bool string(string_t& value) override { return Write(QuoteJson(value)); }
  bool binary(binary_t& /*value*/) override { return false; }  // not in JSON

  bool start_object(std::size_t /*count*/) override { return Open("{"); }
  bool start_array(std::size_t /*count*/) override { return Open("["); }
  bool end_object() override { return Close("}"); }
  bool end_array() override { return Close("]"); }

  bool key(string_t& name) override {
    if (empty_.size() == 1) {
      const auto [member, is_new] = members_.try_emplace(name);
      out_ = &member->second;
      return is_new;
    }
    Separate();
    absl::StrAppend(out_, QuoteJson(name), ":");
    after_key_ = true;
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const json::exception& /*error*/) override {
    return false;
  }

 private:
  bool Write(absl::string_view text) {
    if (empty_.empty()) return false;  // no object
    Separate();
    absl::StrAppend(out_, text);
    return true;
  }

  bool Open(absl::string_view bracket) {
    if (empty_.empty()) {
      empty_.push_back(true);
      return bracket == "{";
    }
    if (!Write(bracket)) return false;
    empty_.push_back(true);
    return true;
  }

  bool Close(absl::string_view bracket) {
    empty_.pop_back();
    if (!empty_.empty()) absl::StrAppend(out_, bracket);
    return true;
  }

  // A comma, unless it is the first in its brackets, or what belongs to a name.
  void Separate() {
    if (std::exchange(after_key_, false) || empty_.size() == 1) return;
    if (!empty_.back()) out_->push_back(',');
    empty_.back() = false;
  }

  std::map<std::string, std::string> members_;
  std::string* out_ = nullptr;  // the member that is being written
  std::vector<bool> empty_;     // of each open bracket, whether nothing is in it yet
  bool after_key_ = false;
};

}  // namespace

std::optional<std::map<std::string, std::string>> SplitJsonObject(absl::string_view text) {
  MemberWriter writer;
  if (!json::sax_parse(text.begin(), text.end(), &writer)) return std::nullopt;
  return writer.TakeMembers();
}

std::optional<std::string> JsonString(absl::string_view text) {
  const json value = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!value.is_string()) return std::nullopt;
  return value.get<std::string>();
}

std::string QuoteJson(absl::string_view text) {
  return json(std::string(text)).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace parley::celery
