// Scheduled messages between the wire and the model.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/local_time.h"
#include "db/model/scheduled_message.h"
#include "parley/message/v1/message_service.pb.h"
#include "parley/message/v1/scheduled_message.pb.h"

namespace parley::message {

v1::ScheduledMessage ToProto(const ScheduledMessage& scheduled);

// When a message is to be sent.
struct SendTime {
  absl::Time instant;
  std::optional<LocalTime> local_time;  // resolved, if it was given as one
};
// `default_zone` stands for an empty zone. Nothing useful if something was added to `violations`.
SendTime SendTimeOf(const v1::ScheduleMessageRequest& request, absl::string_view default_zone,
                    Violations& violations);

// nullopt for UNSPECIFIED, and, with a violation, for a number that is no state.
std::optional<ScheduledMessageState> FilterFromProto(v1::ScheduledMessageState state,
                                                     Violations& violations);

// A digest of what the caller asked for, as it was put.
std::string FingerprintOf(const v1::ScheduleMessageRequest& request);

}  // namespace parley::message
