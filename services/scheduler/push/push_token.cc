#include "services/scheduler/push/push_token.h"

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "db/model/task.h"

namespace parley::scheduler {

std::string PushTokenPrefix(std::initializer_list<absl::string_view> place) {
  return absl::StrCat(kPushTokenPrefix, Fingerprint(place)).substr(0, kPlaceTokenPrefixSize);
}

}  // namespace parley::scheduler
