// A zone's time, cut where its offset changes. Header only; for cron.cc.
#pragma once

#include <algorithm>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace parley {

// Up to which changes are worked out.
inline constexpr absl::civil_year_t kLastZoneYear = 2400;

// A stretch of time without a change of the zone's offset, and the change that it begins with.
class ZoneStretch {
 public:
  // The one that `time` lies in. `zone` must outlive it.
  ZoneStretch(absl::Time time, const absl::TimeZone& zone) : zone_(zone), begin_(time) {
    has_change_ = zone.PrevTransition(time + absl::Seconds(1), &change_);
    if (has_change_) change_time_ = zone.At(change_.to).trans;
    FindEnd();
  }

  // Goes on to the next one; false: there is none.
  bool Advance() {
    if (end_ == absl::InfiniteFuture()) return false;
    begin_ = end_;
    has_change_ = true;
    change_ = next_;
    change_time_ = begin_;
    FindEnd();
    return true;
  }

  absl::Time begin() const { return begin_; }
  absl::Time end() const { return end_; }
  // What clocks show at its beginning, and what they would show at its end.
  absl::CivilSecond civil_begin() const { return absl::ToCivilSecond(begin_, zone_); }
  absl::CivilSecond civil_end() const {
    return end_ == absl::InfiniteFuture() ? absl::CivilSecond(kLastZoneYear, 1, 1) : next_.from;
  }
  // What clocks showed before the change is shown again up to here.
  absl::CivilSecond repeated_until() const {
    return has_change_ ? std::max(change_.from, civil_begin()) : civil_begin();
  }
  // The civil times left out by the change, and shifted to an instant at or after begin(), are
  // those from skipped_begin() to skipped_end(): none if they are equal.
  absl::CivilSecond skipped_end() const { return change_.to; }
  absl::CivilSecond skipped_begin() const {
    if (!has_change_ || change_.to <= change_.from) return change_.to;
    return std::min(change_.to, change_.from + absl::ToInt64Seconds(begin_ - change_time_));
  }
  absl::Time Shift(absl::CivilSecond skipped) const {
    return change_time_ + absl::Seconds(skipped - change_.from);
  }
  // What clocks show then.
  absl::CivilSecond CivilShift(absl::CivilSecond skipped) const {
    return change_.to + (skipped - change_.from);
  }

 private:
  void FindEnd() {
    end_ = zone_.NextTransition(begin_, &next_) ? zone_.At(next_.to).trans : absl::InfiniteFuture();
  }

  const absl::TimeZone& zone_;
  absl::Time begin_;
  absl::Time end_;
  bool has_change_ = false;
  absl::TimeZone::CivilTransition change_;
  absl::Time change_time_;
  absl::TimeZone::CivilTransition next_;
};

}  // namespace parley
