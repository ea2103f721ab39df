"""Keys, tokens and certificates, as an issuer and an authority make them."""

import base64
import datetime
import ipaddress
import json
import os
import time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://issuer.example.org"
AUDIENCE = "parley"


def replace_file(path, text):
    """Puts a file in the place of another, so that nobody reads half of it."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


class SigningKey:
    """A key of an issuer's, and its public half for a key set."""

    def __init__(self, algorithm, kid, bits=2048):
        self.algorithm, self.kid = algorithm, kid
        if algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "RS256":
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        else:
            self.private = os.urandom(32)

    def jwk(self, private=False):
        kind = jwt.get_algorithm_by_name(self.algorithm)
        if self.algorithm == "HS256":
            secret = base64.urlsafe_b64encode(self.private).rstrip(b"=").decode()
            return {"kty": "oct", "k": secret, "kid": self.kid}
        key = self.private if private else self.private.public_key()
        made = kind.to_jwk(key)
        made = json.loads(made) if isinstance(made, str) else made
        return made | {"kid": self.kid, "use": "sig"}

    def token(self, scope="", *, headers=None, without=(), **claims):
        """A token that is right unless `claims` and `headers` say otherwise."""
        body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "billing", "exp": int(time.time()) + 600,
                "scope": scope} | claims
        body = {name: value for name, value in body.items() if name not in without}
        headers = {"kid": self.kid} | (headers or {})
        return jwt.encode(body, self.private, self.algorithm, headers={
            name: value for name, value in headers.items() if value is not None})


def jwks(*keys):
    return json.dumps({"keys": [key if isinstance(key, dict) else key.jwk() for key in keys]})


class Authority:
    """Makes certificates."""

    def __init__(self, name="authority"):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, [], authority=True)

    def pem(self):
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, *names):
        """(certificate, key) in PEM; a name is a DNS name, an address or a URI."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        certificate = self._sign(subject, key, [self._general_name(name) for name in names])
        return (certificate.public_bytes(serialization.Encoding.PEM).decode(),
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()).decode())

    @staticmethod
    def _general_name(name):
        if "://" in name:
            return x509.UniformResourceIdentifier(name)
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    def _sign(self, subject, key, names, authority=False):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.BasicConstraints(ca=authority, path_length=None), True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        if not authority:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        return builder.sign(self._key, hashes.SHA256())
