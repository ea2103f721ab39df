"""Services that take the bearer tokens of an issuer."""

import os
import tempfile

import harness
from credentials import AUDIENCE, ISSUER, SigningKey, jwks, replace_file

OUT = "UNAUTHENTICATED"
DENIED = "PERMISSION_DENIED"


class TokenCase(harness.SystemTest):
    """Services that take the tokens of an issuer."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.jwks_file = os.path.join(directory.name, "jwks.json")
        self.key = SigningKey("EdDSA", "ed-1")

    def serve(self, name, *keys, flags=()):
        replace_file(self.jwks_file, jwks(*(keys or (self.key,))))
        return self.start(name, "--auth-jwks", self.jwks_file, "--auth-issuer", ISSUER,
                          "--auth-audience", AUDIENCE, *flags)
