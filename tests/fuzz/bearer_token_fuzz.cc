// Bearer tokens: nothing is taken that our key did not sign, and of what it did only what the
// claims allow.

#include <sodium.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/access/token_verifier.h"
#include "tests/fuzz/expect.h"

namespace {

using parley::access::TokenVerifier;

constexpr std::int64_t kNow = 1'800'000'000;
constexpr std::int64_t kSkew = 60;

class Issuer {
 public:
  Issuer()
      : verifier_({.algorithms = {"EdDSA", "ES256", "RS256", "HS256"},
                   .issuer = "issuer",
                   .audience = "parley",
                   .clock_skew = absl::Seconds(kSkew)}) {
    PARLEY_FUZZ_EXPECT(sodium_init() >= 0);
    crypto_auth_hmacsha256_keygen(key_);
    const std::string key(reinterpret_cast<const char*>(key_), sizeof(key_));
    PARLEY_FUZZ_EXPECT(verifier_
                           .SetKeys(absl::StrCat(R"({"keys":[{"kty":"oct","kid":"k","k":")",
                                                 absl::WebSafeBase64Escape(key), R"("}]})"))
                           .ok());
  }

  std::string Sign(absl::string_view claims) const {
    const std::string text =
        absl::StrCat(absl::WebSafeBase64Escape(R"({"alg":"HS256","kid":"k","typ":"JWT"})"), ".",
                     absl::WebSafeBase64Escape(claims));
    std::string signature(crypto_auth_hmacsha256_BYTES, '\0');
    crypto_auth_hmacsha256(reinterpret_cast<unsigned char*>(signature.data()),
                           reinterpret_cast<const unsigned char*>(text.data()), text.size(), key_);
    return absl::StrCat(text, ".", absl::WebSafeBase64Escape(signature));
  }

  auto Verify(const std::string& token) {
    const auto identity = verifier_.Verify(token, absl::FromUnixSeconds(kNow));
    PARLEY_FUZZ_EXPECT(identity.ok() ||
                       identity.status().code() == absl::StatusCode::kUnauthenticated);
    return identity;
  }

 private:
  unsigned char key_[crypto_auth_hmacsha256_KEYBYTES];
  TokenVerifier verifier_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Issuer& issuer = *new Issuer();
  const std::string input(reinterpret_cast<const char*>(data), size);
  // The key is another one in every process, so no corpus can hold a token of it.
  PARLEY_FUZZ_EXPECT(!issuer.Verify(input).ok());
  if (!issuer.Verify(issuer.Sign(input)).ok()) return 0;
  const auto claims = nlohmann::json::parse(input, nullptr, false);
  PARLEY_FUZZ_EXPECT(claims.is_object() && claims["iss"] == "issuer");
  PARLEY_FUZZ_EXPECT(absl::StrContains(claims["aud"].dump(), "\"parley\""));
  PARLEY_FUZZ_EXPECT(claims["exp"].get<double>() >= kNow - kSkew);
  PARLEY_FUZZ_EXPECT(!claims.contains("nbf") || claims["nbf"].get<double>() <= kNow + kSkew);
  PARLEY_FUZZ_EXPECT(!claims["sub"].get<std::string>().empty());
  return 0;
}
