// Who may call what, as the call pipeline asks it. What the answer rests on is not its affair;
// services/access decides.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace parley::runtime {

// Who calls, as far as handlers and logs may know it.
struct Caller {
  std::string name;                    // empty: nobody is asked who they are
  std::optional<std::int64_t> act_as;  // the one user in whose name they may act
};

// What the gate says of a call.
struct Admission {
  std::shared_ptr<const Caller> caller;  // never null of one that is let in
  // What the call takes up of what its caller may have at once; given back by its destruction.
  std::shared_ptr<void> place;
};

// What has to be asked of the database before the handler may see the call. Blocks until the
// deadline at most; OK lets the call through. Null: nothing has to be asked.
using Question = std::function<absl::Status(absl::Time deadline)>;

// Thread-safe. Neither call may block: they run on gRPC's threads.
class Gate {
 public:
  virtual ~Gate() = default;

  // Before the request is looked at. UNAUTHENTICATED: nobody whom we know; PERMISSION_DENIED: may
  // not call this method; RESOURCE_EXHAUSTED, with a delay: calls too much. `admission` says who
  // calls as soon as that is known, also of a call that is refused.
  virtual absl::Status Admit(const grpc::CallbackServerContext& context, absl::string_view service,
                             absl::string_view method, Admission& admission) = 0;

  // Of a caller who acts for a user: whether the request is one of that user's. PERMISSION_DENIED:
  // no; otherwise what is left to ask.
  virtual absl::StatusOr<Question> Examine(const Caller& caller, absl::string_view service,
                                           absl::string_view method,
                                           const google::protobuf::Message& request) = 0;
};

}  // namespace parley::runtime
