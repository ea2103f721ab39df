"""TLS and certificates: who is let in, and what a change of the files does."""

import json
import os
import socket
import ssl
import subprocess
import tempfile
import unittest

import grpc

import harness
from credentials import AUDIENCE, ISSUER, Authority, SigningKey, jwks, replace_file
from programs import run_binary

CALLER = "spiffe://example.org/billing"
# The server looks at its files every five seconds.
RELOADED = 60


class TlsCase(harness.SystemTest):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = directory.name
        self.authority = Authority()
        self.write("ca.pem", self.authority.pem())
        self.issue()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        replace_file(self.path(name), text)

    def issue(self):
        """A new certificate of the server's; both files change at once, as a link does."""
        generation = tempfile.mkdtemp(dir=self.folder)
        for name, text in zip(("cert.pem", "key.pem"), self.authority.issue("localhost",
                                                                          "127.0.0.1")):
            replace_file(os.path.join(generation, name), text)
        os.symlink(generation, self.path("tls.new"))
        os.rename(self.path("tls.new"), self.path("tls"))

    def flags(self, mutual=False, callers=None):
        flags = ["--tls-cert", self.path("tls/cert.pem"), "--tls-key", self.path("tls/key.pem")]
        if mutual:
            flags += ["--tls-client-ca", self.path("ca.pem")]
        if callers is not None:
            self.write("callers.json", json.dumps({"callers": callers}))
            flags += ["--auth-callers", self.path("callers.json")]
        return flags

    def serve(self, *flags, name="chatd", **credentials):
        """A service, whose own clients come with these credentials."""
        return self.start(name, *flags, channel_credentials=self.credentials(**credentials))

    def credentials(self, names=None, by=None, trust=None):
        """A client's: a certificate with `names`, if any, of the authority `by`."""
        certificate, key = (by or self.authority).issue(*names) if names else (None, None)
        return grpc.ssl_channel_credentials(
            (trust or self.authority).pem().encode(), key.encode() if key else None,
            certificate.encode() if certificate else None)

    def users_of(self, service, **credentials):
        """A client of its own connection."""
        channel = service.new_channel(self.credentials(**credentials))
        self.addCleanup(channel.close)
        return harness.Client(channel, *harness.CLIENTS["chatd"]["users"])

    def assert_no_connection(self, service, **credentials):
        with self.assertRaises(grpc.RpcError) as raised:
            self.users_of(service, **credentials).ListUsers()
        self.assertEqual(raised.exception.code().name, "UNAVAILABLE")

    def serial(self, service):
        """The number of the certificate that a new connection is shown."""
        host, port = service.address.rsplit(":", 1)
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        with socket.create_connection((host, int(port)), harness.PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                return tls.getpeercert()["serialNumber"]


class TlsTest(TlsCase, harness.People):
    runs = ("chatd",)

    def test_calls_are_encrypted_and_plain_text_is_refused(self):
        chatd = self.serve(*self.flags())
        chatd.users.ListUsers()
        channel = grpc.insecure_channel(chatd.address)
        self.addCleanup(channel.close)
        with self.assertRaises(grpc.RpcError):
            harness.Client(channel, *harness.CLIENTS["chatd"]["users"]).ListUsers()
        self.assert_no_connection(chatd, trust=Authority("another"))

    def test_nothing_older_than_tls_1_2(self):
        chatd = self.serve(*self.flags())

        def said(version):
            done = subprocess.run(
                ["openssl", "s_client", "-connect", chatd.address, version, "-cipher",
                 "ALL:@SECLEVEL=0"], input="", capture_output=True, text=True, check=False,
                timeout=harness.PATIENCE)
            return "Verify return code" in done.stdout and "Cipher is (NONE)" not in done.stdout

        self.assertEqual([said(version) for version in ("-tls1", "-tls1_1", "-tls1_2", "-tls1_3")],
                         [False, False, True, True])

    def test_a_new_certificate_is_taken_and_no_call_is_dropped(self):
        messaged = self.serve(*self.flags(), name="messaged")
        chat = self.new_chat(self.new_user())
        watch = messaged.messages.begin("WatchMessages", chat_ids=[chat.id],
                                        heartbeat_interval={"seconds": 1})
        next(watch)
        before = self.serial(messaged)
        self.issue()
        harness.poll("the new certificate", lambda: self.serial(messaged) != before, RELOADED)
        for _ in range(2):
            next(watch)
        watch.cancel()
        # A key that does not fit harms nobody for longer than it is there.
        replace_file(self.path("tls/key.pem"), Authority().issue("localhost")[1])
        harness.poll("the server to have looked", lambda: self.refuses(messaged), RELOADED)
        self.issue()
        harness.poll("connections again", lambda: not self.refuses(messaged), RELOADED)

    def refuses(self, service):
        try:
            self.serial(service)
            return False
        except OSError:
            return True


class CertificateTest(TlsCase):
    CALLERS = [{"san": CALLER, "name": "billing", "scopes": ["chat.read"]},
               {"san": "reports.example.org", "scopes": ["chat.read", "chat.write"]}]

    def serve_mutually(self, *more):
        return self.serve(*self.flags(mutual=True, callers=self.CALLERS), *more, names=[CALLER])

    def test_callers_are_known_by_their_certificates(self):
        chatd = self.serve_mutually()
        chatd.users.ListUsers()
        with self.assert_error("PERMISSION_DENIED", reason="SCOPE_MISSING"):
            chatd.users.CreateUser(login="ann")
        reports = self.users_of(chatd, names=["other.example.org", "reports.example.org"])
        reports.CreateUser(login="bob")
        with self.assert_error("UNAUTHENTICATED", reason="UNKNOWN_CERTIFICATE"):
            self.users_of(chatd, names=["stranger.example.org"]).ListUsers()
        self.assert_no_connection(chatd)
        self.assert_no_connection(chatd, names=[CALLER], by=Authority())
        harness.poll("the lines", lambda: {"billing", "reports.example.org"} <= {
            line.get("caller") for line in chatd.log()})

    def test_a_token_counts_for_more_than_a_certificate(self):
        key = SigningKey("EdDSA", "one")
        self.write("jwks.json", jwks(key))
        chatd = self.serve_mutually("--auth-jwks", self.path("jwks.json"), "--auth-issuer", ISSUER,
                                    "--auth-audience", AUDIENCE)
        chatd.users.ListUsers()
        chatd.users.bearing(key.token("chat.write")).CreateUser(login="ann")
        with self.assert_error("PERMISSION_DENIED", reason="SCOPE_MISSING"):
            chatd.users.bearing(key.token("chat.write")).ListUsers()
        with self.assert_error("UNAUTHENTICATED", reason="INVALID_TOKEN"):
            chatd.users.bearing("x").ListUsers()

    def test_the_list_of_callers_is_read_again(self):
        chatd = self.serve_mutually()
        self.write("callers.json", json.dumps({"callers": self.CALLERS[1:]}))
        harness.poll("billing to be unknown", lambda: self.code(chatd) == "UNAUTHENTICATED")
        for wrong, says in (("", "is not"),
                            ('{"callers": [{"san": "x", "scopes": ["chat.raed"]}]}', "chat.raed")):
            self.write("callers.json", wrong)
            harness.poll("a complaint", lambda says=says: [
                line for line in chatd.log() if says in line.get("error", "")])
        self.write("callers.json", json.dumps({"callers": self.CALLERS}))
        harness.poll("billing to be known", lambda: self.code(chatd) == "OK")

    @staticmethod
    def code(service):
        try:
            service.users.ListUsers()
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


class StartTest(TlsCase):
    """What a service does not start with."""

    def refusal(self, *flags, code=2):
        done = run_binary("chatd", *flags, url=self.database.url, check=False,
                          env={"PARLEY_LOG_LEVEL": "error"})
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def test_what_is_open_to_others_has_to_be_meant(self):
        key = SigningKey("EdDSA", "one")
        self.write("jwks.json", jwks(key))
        tokens = ["--auth-jwks", self.path("jwks.json"), "--auth-issuer", ISSUER,
                  "--auth-audience", AUDIENCE]
        for listen in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0", "127.example.org:0"):
            with self.subTest(listen):
                self.assertIn("plain text", self.refusal("--listen", listen))
                self.assertIn("plain text", self.refusal("--listen", listen, *tokens))
                self.assertIn("everybody may call",
                              self.refusal("--listen", listen, *self.flags()))
        # These are let through, as far as the database, which is not there.
        for flags in (["localhost:0"], ["[::1]:0"], ["127.0.0.2:0"],
                      ["0.0.0.0:0", "--insecure-listen"], ["0.0.0.0:0", *self.flags(), *tokens]):
            with self.subTest(flags):
                done = run_binary("chatd", "--listen", *flags, "--database-wait", "0s", check=False,
                                  url="postgresql://127.0.0.1:1/none")
                self.assertIn("cannot use the database", done.stderr)
        self.assertIn("--insecure-admin-listen", self.refusal("--admin-listen", "0.0.0.0:0"))

    def test_half_a_setting_is_refused_by_name(self):
        for flags, says in ((["--tls-cert", "x"], "--tls-key"),
                            (["--tls-key", "x"], "--tls-cert"),
                            (["--tls-client-ca", "x"], "--tls-cert"),
                            ([*self.flags(), "--tls-client-ca", "x"], "--auth-callers"),
                            (["--auth-callers", "x"], "--tls-client-ca"),
                            (["--auth-jwks", "x"], "--auth-issuer"),
                            (["--auth-algorithms", "none"], "none"),
                            (["--auth-algorithms", ""], "--auth-algorithms")):
            with self.subTest(flags):
                self.assertIn(says, self.refusal(*flags))

    def test_files_that_cannot_be_used_are_named(self):
        good = self.flags()
        other = self.authority.issue("localhost")[1]
        self.write("other.pem", other)
        for flags, says in ((good[:2] + ["--tls-key", self.path("other.pem")], "other.pem"),
                            (["--tls-cert", "/nowhere", *good[2:]], "/nowhere"),
                            (self.flags(mutual=True, callers=[{"san": "x", "scopes": ["y"]}]),
                             "no such scope"),
                            (["--auth-jwks", self.path("other.pem"), "--auth-issuer", "i",
                              "--auth-audience", "a"], "other.pem")):
            with self.subTest(flags):
                self.assertIn(says, self.refusal(*flags, code=1))


if __name__ == "__main__":
    unittest.main()
