// Bearer tokens: JSON Web Tokens (RFC 7519), signed, checked against a set of public keys (RFC
// 7517).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "services/access/identity.h"

namespace parley::access {

// Signatures and keys are librhonabwy's affair; it sees a token when its outside has been looked
// at: three parts of base64url, 4 KiB at most, an algorithm that is accepted, neither compressed
// nor encrypted nor with anything critical. What a header says about keys (jwk, jku, x5c, x5u) is
// never followed: only `kid` chooses, among our keys. Thread-safe.
class TokenVerifier {
 public:
  struct Options {
    std::vector<std::string> algorithms;  // of "EdDSA", "ES256", "RS256", "HS256"; others never
    std::string issuer;                   // what `iss` must be
    std::string audience;                 // what `aud` must be, or hold
    absl::Duration clock_skew;            // what the issuer's clock may be off by
  };

  explicit TokenVerifier(Options options);
  ~TokenVerifier();

  // Takes the text of a JWKS in place of the keys before, and forgets what it knew of tokens.
  // Refuses sets with private keys in them, which have no business here; keys for other uses are
  // passed over. A set without a key of use is taken, and shuts everybody out: somebody may have
  // had to withdraw the last one.
  absl::Status SetKeys(const std::string& jwks) ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether there is a key that one of the algorithms could use.
  bool has_keys() const ABSL_LOCKS_EXCLUDED(mutex_);

  // The caller whom the token names (`sub`), what they may do (`scope`, words; unknown ones mean
  // nothing here) and for whom (`act_as`, a user id). UNAUTHENTICATED, with a text that helps the
  // caller: the signature, `iss`, `aud`, `exp` or `nbf` is wrong, or what must be there is missing.
  // Costs some 100 us the first time and a look-up afterwards.
  absl::StatusOr<std::shared_ptr<const Identity>> Verify(const std::string& token, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Keys;
  struct Known {
    std::shared_ptr<const Identity> identity;
    absl::Time expiry;
  };

  bool IsAccepted(absl::string_view algorithm) const;
  absl::StatusOr<Known> Check(const Keys& keys, const std::string& token, absl::Time now) const;
  absl::StatusOr<Known> ReadClaims(const std::string& claims, absl::Time now) const;

  const Options options_;
  mutable Mutex mutex_;
  std::shared_ptr<const Keys> keys_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Known> known_ ABSL_GUARDED_BY(mutex_);  // by digest of the token
};

}  // namespace parley::access
