#include "services/access/token_verifier.h"

#include <rhonabwy.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"

namespace parley::access {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::size_t kMaxKnownTokens = 10000;
constexpr std::size_t kMaxNameBytes = 256;
constexpr double kLatestSeconds = 253402300799;  // 9999-12-31T23:59:59Z

// The library's types for a key and for a set of keys are one type, so each has its own way to go.
template <auto free_function>
struct FreedBy {
  template <class T>
  void operator()(T* what) const {
    free_function(what);
  }
};
using Key = std::unique_ptr<jwk_t, FreedBy<r_jwk_free>>;
using Token = std::unique_ptr<jwt_t, FreedBy<r_jwt_free>>;
using Text = std::unique_ptr<char, FreedBy<r_free>>;

// What a key must be for an algorithm.
struct Algorithm {
  absl::string_view name;
  jwa_alg alg;
  unsigned key_type;
  unsigned min_bits, max_bits;
};
constexpr unsigned kAnyBits = std::numeric_limits<unsigned>::max();
constexpr std::array<Algorithm, 4> kAlgorithms = {{
    {"EdDSA", R_JWA_ALG_EDDSA, R_KEY_TYPE_EDDSA, 0, kAnyBits},
    {"ES256", R_JWA_ALG_ES256, R_KEY_TYPE_EC, 256, 256},
    {"RS256", R_JWA_ALG_RS256, R_KEY_TYPE_RSA, 2048, kAnyBits},
    {"HS256", R_JWA_ALG_HS256, R_KEY_TYPE_HMAC, 256, kAnyBits},
}};

absl::Status Refuse(absl::string_view why) {
  return Error(absl::StatusCode::kUnauthenticated, reason::kInvalidToken,
               absl::StrCat("the bearer token is not valid: ", why));
}

bool Fits(jwk_t* key, const Algorithm& algorithm) {
  unsigned bits = 0;
  const auto type = static_cast<unsigned>(r_jwk_key_type(key, &bits, R_FLAG_IGNORE_REMOTE));
  if ((type & algorithm.key_type) == 0) return false;
  if (bits < algorithm.min_bits || bits > algorithm.max_bits) return false;
  const char* const use = r_jwk_get_property_str(key, "use");
  if (use != nullptr && absl::string_view(use) != "sig") return false;
  const char* const alg = r_jwk_get_property_str(key, "alg");
  return alg == nullptr || algorithm.name == alg;
}

bool IsPrivate(jwk_t* key) {
  return (static_cast<unsigned>(r_jwk_key_type(key, nullptr, R_FLAG_IGNORE_REMOTE)) &
          R_KEY_TYPE_PRIVATE) != 0;
}

// NumericDate: seconds since 1970, perhaps with a fraction.
std::optional<absl::Time> TimeClaim(const json& claims, const char* name) {
  const auto claim = claims.find(name);
  if (claim == claims.end() || !claim->is_number()) return std::nullopt;
  const double seconds = claim->get<double>();
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kLatestSeconds) return std::nullopt;
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

bool HasAudience(const json& claims, const std::string& audience) {
  const auto claim = claims.find("aud");
  if (claim == claims.end()) return false;
  if (claim->is_string()) return *claim == audience;
  return claim->is_array() && std::find(claim->begin(), claim->end(), audience) != claim->end();
}

bool IsText(const json& claims, const char* name, const std::string& text) {
  const auto claim = claims.find(name);
  return claim != claims.end() && claim->is_string() && *claim == text;
}

// `scope` as RFC 8693 has it: one string of words.
ScopeSet ScopesOf(const json& claims) {
  ScopeSet scopes;
  const auto claim = claims.find("scope");
  if (claim == claims.end() || !claim->is_string()) return scopes;
  for (const absl::string_view word :
       absl::StrSplit(claim->get_ref<const std::string&>(), ' ', absl::SkipEmpty())) {
    if (const std::optional<Scope> scope = ParseScope(word)) scopes.Add(*scope);
  }
  return scopes;
}

// A number, or its digits in a string: JSON's numbers end at 2^53 for many issuers.
std::optional<std::int64_t> UserId(const json& claim) {
  std::int64_t id = 0;
  if (claim.is_number_unsigned()) {
    const auto number = claim.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
    id = static_cast<std::int64_t>(number);
  } else if (!claim.is_string() || !absl::SimpleAtoi(claim.get_ref<const std::string&>(), &id)) {
    return {};
  }
  return id > 0 ? std::optional<std::int64_t>(id) : std::nullopt;
}

// What a token is made of.
struct Parts {
  json header;
  std::string claims;
  std::string signature;
  absl::string_view is_signed;  // header and claims as they are written
};

// By hand, so that nothing from strangers reaches a library that would, for example, inflate it.
absl::StatusOr<Parts> SplitToken(absl::string_view token) {
  const std::vector<absl::string_view> texts = absl::StrSplit(token, '.');
  std::string header;
  Parts parts;
  const bool is_base64 = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
  if (token.size() > kMaxTokenBytes || texts.size() != 3 || !is_base64 || texts[2].empty() ||
      !absl::WebSafeBase64Unescape(texts[0], &header) ||
      !absl::WebSafeBase64Unescape(texts[1], &parts.claims) ||
      !absl::WebSafeBase64Unescape(texts[2], &parts.signature)) {
    return Refuse("it is not a signed JSON Web Token");
  }
  parts.is_signed = token.substr(0, token.rfind('.'));
  parts.header = json::parse(header, nullptr, false);
  if (!parts.header.is_object()) return Refuse("it is not a signed JSON Web Token");
  // RFC 7515: what is critical must be understood, and we understand no extension.
  for (const char* const member : {"crit", "zip", "enc", "cty", "b64"}) {
    if (parts.header.contains(member)) return Refuse("its header is not understood");
  }
  return parts;
}

bool HasRightSignature(const std::string& token, jwk_t* key) {
  jwt_t* parsed = nullptr;
  if (r_jwt_init(&parsed) != RHN_OK) return false;
  const Token jwt(parsed);
  return r_jwt_advanced_parsen(parsed, token.data(), token.size(), R_PARSE_NONE,
                               R_FLAG_IGNORE_REMOTE) == RHN_OK &&
         r_jwt_verify_signature(parsed, key, R_FLAG_IGNORE_REMOTE) == RHN_OK;
}

// Not by librhonabwy, which would compare up to the first byte that differs, and so tell where.
bool HasRightMac(const Parts& parts, jwk_t* key) {
  std::string secret;
  const char* const encoded = r_jwk_get_property_str(key, "k");
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> mac;
  if (encoded == nullptr || !absl::WebSafeBase64Unescape(encoded, &secret) ||
      parts.signature.size() != mac.size()) {
    return false;
  }
  const auto bytes = [](absl::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, bytes(secret), secret.size());
  crypto_auth_hmacsha256_update(&state, bytes(parts.is_signed), parts.is_signed.size());
  crypto_auth_hmacsha256_final(&state, mac.data());
  return sodium_memcmp(mac.data(), parts.signature.data(), mac.size()) == 0;
}

}  // namespace

struct TokenVerifier::Keys {
  explicit Keys(jwks_t* keys) : set(keys, r_jwks_free) {}

  std::unique_ptr<jwks_t, void (*)(jwks_t*)> set;
  bool usable = false;  // there is a key for an algorithm that is accepted

  // The key that `kid` names, or, of a token that names none, the only one for the algorithm.
  Key Find(const char* kid, const Algorithm& algorithm) const {
    Key found;
    for (std::size_t i = 0; i < r_jwks_size(set.get()); ++i) {
      Key key(r_jwks_get_at(set.get(), i));
      const char* const id = r_jwk_get_property_str(key.get(), "kid");
      if (kid != nullptr && (id == nullptr || absl::string_view(id) != kid)) continue;
      if (!Fits(key.get(), algorithm)) continue;
      if (found != nullptr) return nullptr;
      found = std::move(key);
    }
    return found;
  }
};

TokenVerifier::TokenVerifier(Options options) : options_(std::move(options)) {
  static const int initialized = r_global_init();
  static_cast<void>(initialized);
}

TokenVerifier::~TokenVerifier() = default;

absl::Status TokenVerifier::SetKeys(const std::string& jwks) {
  jwks_t* set = nullptr;
  if (r_jwks_init(&set) != RHN_OK) return absl::ResourceExhaustedError("no memory");
  auto keys = std::make_shared<Keys>(set);
  // What it cannot read of a set it leaves out, and says so; the others are good all the same.
  const json parsed = json::parse(jwks, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("keys") || !parsed["keys"].is_array()) {
    return absl::InvalidArgumentError("is not a JSON Web Key Set");
  }
  r_jwks_import_from_json_str(set, jwks.c_str());
  for (std::size_t i = 0; i < r_jwks_size(set); ++i) {
    const Key key(r_jwks_get_at(set, i));
    if (IsPrivate(key.get())) {
      return absl::InvalidArgumentError("holds a private key; only public ones belong here");
    }
    for (const Algorithm& algorithm : kAlgorithms) {
      keys->usable = keys->usable || (IsAccepted(algorithm.name) && Fits(key.get(), algorithm));
    }
  }
  MutexLock lock(mutex_);
  keys_ = std::move(keys);
  known_.clear();
  return absl::OkStatus();
}

bool TokenVerifier::has_keys() const {
  MutexLock lock(mutex_);
  return keys_ != nullptr && keys_->usable;
}

absl::StatusOr<std::shared_ptr<const Identity>> TokenVerifier::Verify(const std::string& token,
                                                                      absl::Time now) {
  const std::string digest = Fingerprint({token});
  std::shared_ptr<const Keys> keys;
  {
    MutexLock lock(mutex_);
    const auto known = known_.find(digest);
    if (known != known_.end() && now < known->second.expiry) return known->second.identity;
    keys = keys_;
  }
  if (keys == nullptr) return Refuse("there are no keys to check it with");
  PARLEY_ASSIGN_OR_RETURN(Known checked, Check(*keys, token, now));
  std::shared_ptr<const Identity> identity = checked.identity;
  MutexLock lock(mutex_);
  // Keys that came meanwhile have not seen it.
  if (keys != keys_) return identity;
  if (known_.size() >= kMaxKnownTokens) known_.clear();
  known_[digest] = std::move(checked);
  return identity;
}

bool TokenVerifier::IsAccepted(absl::string_view algorithm) const {
  return std::find(options_.algorithms.begin(), options_.algorithms.end(), algorithm) !=
         options_.algorithms.end();
}

absl::StatusOr<TokenVerifier::Known> TokenVerifier::Check(const Keys& keys,
                                                          const std::string& token,
                                                          absl::Time now) const {
  PARLEY_ASSIGN_OR_RETURN(const Parts parts, SplitToken(token));
  const json& header = parts.header;
  const auto algorithm =
      std::find_if(kAlgorithms.begin(), kAlgorithms.end(), [&](const Algorithm& known) {
        return IsText(header, "alg", std::string(known.name)) && IsAccepted(known.name);
      });
  if (algorithm == kAlgorithms.end()) return Refuse("its algorithm is not accepted");
  const bool has_kid = header.contains("kid");
  if (has_kid && !header["kid"].is_string()) return Refuse("its header is not understood");
  const Key key = keys.Find(has_kid ? header["kid"].get_ref<const std::string&>().c_str() : nullptr,
                            *algorithm);
  if (key == nullptr) return Refuse("no key is known for it");
  const bool is_right = algorithm->alg == R_JWA_ALG_HS256 ? HasRightMac(parts, key.get())
                                                          : HasRightSignature(token, key.get());
  if (!is_right) return Refuse("its signature is wrong");
  return ReadClaims(parts.claims, now);
}

absl::StatusOr<TokenVerifier::Known> TokenVerifier::ReadClaims(const std::string& text,
                                                               absl::Time now) const {
  const json claims = json::parse(text, nullptr, false);
  if (!claims.is_object()) return Refuse("it has no claims");
  if (!IsText(claims, "iss", options_.issuer)) return Refuse("iss is not the issuer we trust");
  if (!HasAudience(claims, options_.audience)) return Refuse("aud does not name us");
  const std::optional<absl::Time> expiry = TimeClaim(claims, "exp");
  if (!expiry) return Refuse("exp is missing, or no time");
  if (now >= *expiry + options_.clock_skew) return Refuse("it has expired");
  if (claims.contains("nbf")) {
    const std::optional<absl::Time> begin = TimeClaim(claims, "nbf");
    if (!begin) return Refuse("nbf is no time");
    if (now < *begin - options_.clock_skew) return Refuse("it is not valid yet");
  }
  const auto subject = claims.find("sub");
  if (subject == claims.end() || !subject->is_string() || *subject == "" ||
      subject->get_ref<const std::string&>().size() > kMaxNameBytes) {
    return Refuse("sub is missing, or too long");
  }
  auto identity = std::make_shared<Identity>();
  identity->name = *subject;
  identity->scopes = ScopesOf(claims);
  if (const auto user = claims.find("act_as"); user != claims.end()) {
    // What cannot be read must not make the token one for all users.
    identity->act_as = UserId(*user);
    if (!identity->act_as) return Refuse("act_as is no user id");
  }
  return Known{std::move(identity), *expiry + options_.clock_skew};
}

}  // namespace parley::access
