// What threads share; what tokens are taken is the matter of tests/system/test_tokens.py, which
// makes them by another library.
#include "services/access/token_verifier.h"

#include <gtest/gtest.h>
#include <rhonabwy.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace parley::access {
namespace {

// An issuer with one key.
class Issuer {
 public:
  explicit Issuer(const char* kid) {
    r_jwk_init(&private_key_);
    r_jwk_init(&public_key_);
    r_jwk_generate_key_pair(private_key_, public_key_, R_KEY_TYPE_EDDSA, 256, kid);
  }
  ~Issuer() {
    r_jwk_free(private_key_);
    r_jwk_free(public_key_);
  }
  Issuer(const Issuer&) = delete;
  Issuer& operator=(const Issuer&) = delete;

  std::string Jwks() const {
    char* const key = r_jwk_export_to_json_str(public_key_, 0);
    std::string set = absl::StrCat("{\"keys\": [", key, "]}");
    r_free(key);
    return set;
  }

  std::string Token(absl::Time expiry) const {
    jwt_t* jwt = nullptr;
    r_jwt_init(&jwt);
    r_jwt_set_sign_alg(jwt, R_JWA_ALG_EDDSA);
    r_jwt_set_claim_str_value(jwt, "iss", "issuer");
    r_jwt_set_claim_str_value(jwt, "aud", "parley");
    r_jwt_set_claim_str_value(jwt, "sub", "caller");
    r_jwt_set_claim_str_value(jwt, "scope", "chat.read");
    r_jwt_set_claim_int_value(jwt, "exp", absl::ToUnixSeconds(expiry));
    char* const text = r_jwt_serialize_signed(jwt, private_key_, 0);
    std::string token = text == nullptr ? "" : text;
    r_free(text);
    r_jwt_free(jwt);
    return token;
  }

 private:
  jwk_t* private_key_ = nullptr;
  jwk_t* public_key_ = nullptr;
};

TokenVerifier::Options Options() {
  return {.algorithms = {"EdDSA"},
          .issuer = "issuer",
          .audience = "parley",
          .clock_skew = absl::Seconds(60)};
}

TEST(TokenVerifier, RemembersATokenNoLongerThanItIsValid) {
  const Issuer issuer("one");
  TokenVerifier verifier(Options());
  ASSERT_TRUE(verifier.SetKeys(issuer.Jwks()).ok());
  const absl::Time now = absl::Now();
  const std::string token = issuer.Token(now + absl::Minutes(1));
  const auto first = verifier.Verify(token, now);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->name, "caller");
  // The same object: it was not checked again.
  EXPECT_EQ(verifier.Verify(token, now).value(), *first);
  EXPECT_FALSE(verifier.Verify(token, now + absl::Minutes(3)).ok());
  EXPECT_TRUE(verifier.Verify(token, now).ok());
}

TEST(TokenVerifier, IsRightWhileItsKeysAreReplaced) {
  const Issuer kept("kept");
  const Issuer other("other");
  TokenVerifier verifier(Options());
  ASSERT_TRUE(verifier.SetKeys(kept.Jwks()).ok());
  const absl::Time now = absl::Now();
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&, i] {
      const std::string good = kept.Token(now + absl::Minutes(1 + i));
      const std::string bad = other.Token(now + absl::Minutes(1 + i));
      while (!stop) {
        if (!verifier.Verify(good, now).ok()) ++wrong;
        if (verifier.Verify(bad, now).ok()) ++wrong;
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(verifier.SetKeys(kept.Jwks()).ok());
    EXPECT_FALSE(verifier.SetKeys("{").ok());
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace parley::access
