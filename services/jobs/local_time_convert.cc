#include "services/jobs/local_time_convert.h"

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"

namespace parley::jobs {
namespace {

namespace pb = ::parley::scheduler::v1;

pb::GapPolicy ToProto(GapPolicy policy) {
  return policy == GapPolicy::kShift ? pb::GAP_POLICY_SHIFT : pb::GAP_POLICY_REJECT;
}

pb::FoldPolicy ToProto(FoldPolicy policy) {
  switch (policy) {
    case FoldPolicy::kFirst:
      return pb::FOLD_POLICY_FIRST;
    case FoldPolicy::kSecond:
      return pb::FOLD_POLICY_SECOND;
    case FoldPolicy::kReject:
      return pb::FOLD_POLICY_REJECT;
  }
  return pb::FOLD_POLICY_UNSPECIFIED;
}

GapPolicy GapPolicyFromProto(pb::GapPolicy policy, Violations& violations) {
  switch (policy) {
    case pb::GAP_POLICY_UNSPECIFIED:
    case pb::GAP_POLICY_SHIFT:
      return GapPolicy::kShift;
    case pb::GAP_POLICY_REJECT:
      return GapPolicy::kReject;
    default:
      violations.Add("local_time.gap_policy", "is not a known value");
      return GapPolicy::kReject;
  }
}

FoldPolicy FoldPolicyFromProto(pb::FoldPolicy policy, Violations& violations) {
  switch (policy) {
    case pb::FOLD_POLICY_UNSPECIFIED:
    case pb::FOLD_POLICY_FIRST:
      return FoldPolicy::kFirst;
    case pb::FOLD_POLICY_SECOND:
      return FoldPolicy::kSecond;
    case pb::FOLD_POLICY_REJECT:
      return FoldPolicy::kReject;
    default:
      violations.Add("local_time.fold_policy", "is not a known value");
      return FoldPolicy::kReject;
  }
}

}  // namespace

pb::LocalTime ToProto(const LocalTime& local_time) {
  pb::LocalTime result;
  result.set_date_time(local_time.date_time);
  result.set_time_zone(local_time.time_zone);
  result.set_gap_policy(ToProto(local_time.gap_policy));
  result.set_fold_policy(ToProto(local_time.fold_policy));
  return result;
}

pb::LocalTimeResolution ToProto(LocalTimeResolution resolution) {
  switch (resolution) {
    case LocalTimeResolution::kUnique:
      return pb::LOCAL_TIME_RESOLUTION_UNIQUE;
    case LocalTimeResolution::kShifted:
      return pb::LOCAL_TIME_RESOLUTION_SHIFTED;
    case LocalTimeResolution::kAmbiguous:
      return pb::LOCAL_TIME_RESOLUTION_AMBIGUOUS;
  }
  return pb::LOCAL_TIME_RESOLUTION_UNSPECIFIED;
}

LocalTime FromProto(const pb::LocalTime& local_time, Violations& violations) {
  return {.date_time = local_time.date_time(),
          .time_zone = local_time.time_zone(),
          .gap_policy = GapPolicyFromProto(local_time.gap_policy(), violations),
          .fold_policy = FoldPolicyFromProto(local_time.fold_policy(), violations)};
}

std::string FingerprintOf(const pb::LocalTime& local_time) {
  return Fingerprint({"local_time", local_time.date_time(), local_time.time_zone(),
                      absl::StrCat(local_time.gap_policy()),
                      absl::StrCat(local_time.fold_policy())});
}

}  // namespace parley::jobs
