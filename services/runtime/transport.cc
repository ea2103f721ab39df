#include "services/runtime/transport.h"

#include <arpa/inet.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/ssl.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace parley::runtime {
namespace {

constexpr unsigned kReloadSeconds = 5;

// gRPC would only log what is wrong, and refuse every connection.
absl::Status CheckFiles(const TransportOptions& options) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> tls(SSL_CTX_new(TLS_server_method()),
                                                              &SSL_CTX_free);
  if (tls == nullptr) return absl::ResourceExhaustedError("no memory");
  if (SSL_CTX_use_certificate_chain_file(tls.get(), options.cert_file.c_str()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.cert_file, " cannot be read, or is no certificate in PEM"));
  }
  if (SSL_CTX_use_PrivateKey_file(tls.get(), options.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(tls.get()) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.key_file, " cannot be read, or is not the key of ", options.cert_file));
  }
  if (!options.client_ca_file.empty() &&
      SSL_CTX_load_verify_locations(tls.get(), options.client_ca_file.c_str(), nullptr) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.client_ca_file, " cannot be read, or holds no certificate in PEM"));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsLoopback(absl::string_view listen) {
  const absl::string_view host = listen.substr(0, listen.rfind(':'));
  in_addr address;
  constexpr std::uint32_t kLoopbackNet = 127;
  if (inet_pton(AF_INET, std::string(host).c_str(), &address) == 1) {
    return ntohl(address.s_addr) >> 24 == kLoopbackNet;
  }
  return host == "[::1]" || host == "localhost";
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TransportOptions& options) {
  if (options.cert_file.empty()) return grpc::InsecureServerCredentials();
  PARLEY_RETURN_IF_ERROR(CheckFiles(options));
  namespace tls = grpc::experimental;
  tls::TlsServerCredentialsOptions settings(std::make_shared<tls::FileWatcherCertificateProvider>(
      options.key_file, options.cert_file, options.client_ca_file, kReloadSeconds));
  settings.watch_identity_key_cert_pairs();
  if (options.client_ca_file.empty()) {
    settings.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  } else {
    settings.watch_root_certs();
    settings.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  std::shared_ptr<grpc::ServerCredentials> credentials = tls::TlsServerCredentials(settings);
  if (credentials == nullptr) return absl::InvalidArgumentError("TLS could not be set up");
  return credentials;
}

}  // namespace parley::runtime
