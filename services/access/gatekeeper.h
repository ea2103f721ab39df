// The gate of a service: who calls, whether they may, and whether it is theirs to do.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/access/caller_limits.h"
#include "services/access/certificate_callers.h"
#include "services/access/followed_file.h"
#include "services/access/method_table.h"
#include "services/access/token_verifier.h"
#include "services/runtime/call.h"
#include "services/runtime/config.h"
#include "services/runtime/gate.h"

namespace parley::access {

// PERMISSION_DENIED, reason NOT_PERMITTED: the same whether what is named exists or not.
absl::Status NotPermittedError();

// Callers show a bearer token, or a certificate that the transport has verified. Of both, the token
// counts: the certificate may be a proxy's. Which scopes a method takes is in method_table.
class Gatekeeper final : public runtime::Gate {
 public:
  // Whether the user has what `need` takes, asked of the database. May block until the deadline.
  using AskNeed =
      std::function<absl::Status(const Need& need, std::int64_t user_id, absl::Time deadline)>;

  // Without a file of callers certificates are nobody's, without one of keys tokens are not taken;
  // with neither everybody may do everything, and a caller is an address. Reads the files, and
  // follows them. `ask_need` may be null where no method has a need.
  static absl::StatusOr<std::unique_ptr<Gatekeeper>> Open(const runtime::Config& config,
                                                          AskNeed ask_need);

  // Reasons: CREDENTIALS_MISSING, INVALID_TOKEN, UNKNOWN_CERTIFICATE, SCOPE_MISSING,
  // NOT_FOR_USERS, and those of CallerLimits.
  absl::Status Admit(const grpc::CallbackServerContext& context, absl::string_view service,
                     absl::string_view method, runtime::Admission& admission) override;

  // Reason: NOT_PERMITTED.
  absl::StatusOr<runtime::Question> Examine(const runtime::Caller& caller,
                                            absl::string_view service, absl::string_view method,
                                            const google::protobuf::Message& request) override;

 private:
  Gatekeeper(const runtime::Config& config, AskNeed ask_need);

  absl::StatusOr<std::shared_ptr<const Identity>> Identify(
      const grpc::CallbackServerContext& context);

  const runtime::AccessConfig config_;
  const AskNeed ask_need_;
  const std::shared_ptr<const runtime::Caller> anybody_;
  TokenVerifier tokens_;
  CertificateCallers certificates_;
  CallerLimits limits_;
  std::vector<std::unique_ptr<FollowedFile>> files_;  // last: their threads use what is above
};

// For the calls of a service that go through the gate, which must outlive them.
runtime::CallPipeline::Options CallsThrough(Gatekeeper& gate, const runtime::Config& config,
                                            absl::string_view service);

}  // namespace parley::access
