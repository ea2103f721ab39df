// Callers who show a certificate: a file says which name in it is who, and may do what.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "services/access/identity.h"

namespace parley::access {

// The file is JSON:
//
//   {"callers": [{"san": "spiffe://example.org/billing",   a subject alternative name, whole
//                 "name": "billing",                       for logs and limits; the san if left out
//                 "scopes": ["chat.read", "message.write"]}]}
//
// Thread-safe.
class CertificateCallers {
 public:
  // Takes the text of the file in place of what was there before; an error says what is wrong with
  // it, and changes nothing.
  absl::Status SetCallers(const std::string& text) ABSL_LOCKS_EXCLUDED(mutex_);

  // Who has a certificate with these names; null if the file knows none of them. If it knows
  // several, the first.
  std::shared_ptr<const Identity> Find(const std::vector<std::string>& names) const
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using BySan = absl::flat_hash_map<std::string, std::shared_ptr<const Identity>>;

  mutable Mutex mutex_;
  std::shared_ptr<const BySan> callers_ ABSL_GUARDED_BY(mutex_) = std::make_shared<BySan>();
};

}  // namespace parley::access
