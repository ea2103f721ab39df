// A file of keys and a file of callers are taken or refused, whatever is in them.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"
#include "services/access/certificate_callers.h"
#include "services/access/token_verifier.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  parley::access::TokenVerifier verifier({.algorithms = {"EdDSA", "ES256", "RS256"},
                                          .issuer = "issuer",
                                          .audience = "parley",
                                          .clock_skew = absl::ZeroDuration()});
  if (verifier.SetKeys(input).ok()) {
    const auto keys = nlohmann::json::parse(input, nullptr, false);
    PARLEY_FUZZ_EXPECT(keys.is_object() && keys["keys"].is_array());  // none: nobody has a token
    // Nobody's signature.
    PARLEY_FUZZ_EXPECT(
        !verifier.Verify("eyJhbGciOiJFZERTQSJ9.e30.AAAA", absl::FromUnixSeconds(1)).ok());
  }
  parley::access::CertificateCallers callers;
  if (callers.SetCallers(input).ok()) {
    PARLEY_FUZZ_EXPECT(nlohmann::json::accept(input));
    PARLEY_FUZZ_EXPECT(callers.Find({}) == nullptr);
  }
  return 0;
}
