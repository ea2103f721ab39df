#include "services/access/gatekeeper.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace parley::access {
namespace {

// The bearer token that comes with the call; nothing if there is no authorization at all.
absl::StatusOr<std::optional<std::string>> BearerToken(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto [first, end] = metadata.equal_range("authorization");
  if (first == end) return std::optional<std::string>();
  // Which of several was meant, somebody on the way may have seen otherwise.
  if (std::next(first) != end) {
    return Error(absl::StatusCode::kUnauthenticated, reason::kInvalidToken,
                 "there is more than one authorization");
  }
  constexpr absl::string_view kScheme = "Bearer ";
  const absl::string_view value(first->second.data(), first->second.size());
  if (!absl::StartsWithIgnoreCase(value, kScheme)) {
    return Error(absl::StatusCode::kUnauthenticated, reason::kInvalidToken,
                 "the authorization must be a bearer token");
  }
  // An empty one is a wrong one: a proxy may have let the call through because there was one.
  return std::optional<std::string>(value.substr(kScheme.size()));
}

std::vector<std::string> NamesInCertificate(const grpc::CallbackServerContext& context) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  std::vector<std::string> names;
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return names;
  // Not e-mail addresses, which some authorities let people choose.
  for (const char* const kind : {GRPC_PEER_URI_PROPERTY_NAME, GRPC_PEER_DNS_PROPERTY_NAME}) {
    for (const grpc::string_ref& name : peer->FindPropertyValues(kind)) {
      names.emplace_back(name.data(), name.size());
    }
  }
  return names;
}

// The caller's host, of whom nothing else is known.
std::string AddressOf(const grpc::CallbackServerContext& context) {
  std::string address = context.peer();
  address.resize(std::min(address.size(), address.rfind(':')));
  return address;
}

absl::Status CheckMay(const Identity& identity, const MethodAccess& access) {
  if (!access.any_of.Intersects(identity.scopes)) {
    const std::string scopes = ToString(access.any_of);
    return Error(absl::StatusCode::kPermissionDenied, reason::kScopeMissing,
                 absl::StrCat("the method takes the scope ", scopes), {{"scope", scopes}});
  }
  if (identity.act_as && access.need == nullptr) {
    return Error(absl::StatusCode::kPermissionDenied, reason::kNotForUsers,
                 "the method is not for callers who act for a user");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status NotPermittedError() {
  return Error(absl::StatusCode::kPermissionDenied, reason::kNotPermitted,
               "the user may not do this, or what is named does not exist");
}

absl::StatusOr<std::unique_ptr<Gatekeeper>> Gatekeeper::Open(const runtime::Config& config,
                                                             AskNeed ask_need) {
  std::unique_ptr<Gatekeeper> gate(new Gatekeeper(config, std::move(ask_need)));
  const auto follow = [&gate](const std::string& path,
                              FollowedFile::OnContent on_content) -> absl::Status {
    if (path.empty()) return absl::OkStatus();
    PARLEY_ASSIGN_OR_RETURN(std::unique_ptr<FollowedFile> file,
                            FollowedFile::Open(path, std::move(on_content)));
    gate->files_.push_back(std::move(file));
    return absl::OkStatus();
  };
  PARLEY_RETURN_IF_ERROR(
      follow(gate->config_.callers_file, [gate = gate.get()](const std::string& content) {
        return gate->certificates_.SetCallers(content);
      }));
  PARLEY_RETURN_IF_ERROR(follow(
      gate->config_.jwks_file,
      [gate = gate.get()](const std::string& content) { return gate->tokens_.SetKeys(content); }));
  if (!gate->config_.jwks_file.empty() && !gate->tokens_.has_keys()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file ", gate->config_.jwks_file,
                     ": holds no key for any of the algorithms that are accepted"));
  }
  return gate;
}

Gatekeeper::Gatekeeper(const runtime::Config& config, AskNeed ask_need)
    : config_(config.access),
      ask_need_(std::move(ask_need)),
      anybody_(std::make_shared<runtime::Caller>()),
      tokens_({.algorithms = config_.algorithms,
               .issuer = config_.issuer,
               .audience = config_.audience,
               .clock_skew = config_.clock_skew}),
      limits_({.calls = config.limits.calls,
               .streams = config.limits.streams,
               .rate = config.limits.rate}) {}

absl::Status Gatekeeper::Admit(const grpc::CallbackServerContext& context,
                               absl::string_view service, absl::string_view method,
                               runtime::Admission& admission) {
  const MethodAccess* const access = FindMethod(service, method);
  if (access == nullptr) {
    return Error(absl::StatusCode::kPermissionDenied, reason::kScopeMissing,
                 "the method is closed to everybody");
  }
  std::string taker;
  if (files_.empty()) {
    admission.caller = anybody_;
    taker = AddressOf(context);
  } else {
    PARLEY_ASSIGN_OR_RETURN(const std::shared_ptr<const Identity> identity, Identify(context));
    admission.caller = identity;
    PARLEY_RETURN_IF_ERROR(CheckMay(*identity, *access));
    taker = identity->name;
  }
  PARLEY_ASSIGN_OR_RETURN(admission.place,
                          limits_.Take(taker, access->kind, access->is_stream, SteadyNow()));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Identity>> Gatekeeper::Identify(
    const grpc::CallbackServerContext& context) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<std::string> token, BearerToken(context));
  if (token) {
    if (config_.jwks_file.empty()) {
      return Error(absl::StatusCode::kUnauthenticated, reason::kInvalidToken,
                   "bearer tokens are not accepted here");
    }
    return tokens_.Verify(*token, absl::Now());
  }
  const std::vector<std::string> names = NamesInCertificate(context);
  if (names.empty()) {
    return Error(absl::StatusCode::kUnauthenticated, reason::kCredentialsMissing,
                 "a bearer token or a client certificate is needed");
  }
  std::shared_ptr<const Identity> identity = certificates_.Find(names);
  if (identity == nullptr) {
    return Error(absl::StatusCode::kUnauthenticated, reason::kUnknownCertificate,
                 "the client certificate is of nobody who is known here");
  }
  return identity;
}

absl::StatusOr<runtime::Question> Gatekeeper::Examine(const runtime::Caller& caller,
                                                      absl::string_view service,
                                                      absl::string_view method,
                                                      const google::protobuf::Message& request) {
  if (!caller.act_as) return runtime::Question();
  const MethodAccess* const access = FindMethod(service, method);
  if (access == nullptr || access->need == nullptr) return NotPermittedError();
  Need need = access->need(request, *caller.act_as);
  if (need.kind == Need::Kind::kNothing) return runtime::Question();
  if (need.kind == Need::Kind::kRefused) return NotPermittedError();
  // More than any call may name; the database is not asked about a million of them.
  constexpr std::size_t kMaxIds = 200;
  if (need.chat_ids.size() + need.message_ids.size() > kMaxIds) return NotPermittedError();
  return runtime::Question([this, need = std::move(need),
                            user_id = *caller.act_as](absl::Time deadline) -> absl::Status {
    return ask_need_(need, user_id, deadline);
  });
}

runtime::CallPipeline::Options CallsThrough(Gatekeeper& gate, const runtime::Config& config,
                                            absl::string_view service) {
  return {.service = std::string(service),
          .default_deadline = config.default_deadline,
          .max_deadline = config.max_deadline,
          .gate = &gate};
}

}  // namespace parley::access
