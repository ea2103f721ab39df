"""Bearer tokens: who is let in, who is not, and what a caller hears."""

import base64
import hashlib
import hmac
import json
import os
import time
import unittest
import zlib

import grpc

import harness
from credentials import AUDIENCE, SigningKey, jwks, replace_file
from token_cases import DENIED, OUT, TokenCase

ALL_SCOPES = ("chat.read chat.write message.read message.write task.produce task.work admin")


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


class TokenTest(TokenCase):
    def setUp(self):
        super().setUp()
        self.others = [SigningKey("ES256", "ec-1"), SigningKey("RS256", "rsa-1"),
                       SigningKey("HS256", "hs-1")]
        self.chatd = self.serve("chatd", self.key, *self.others)

    def list_users(self, token, **options):
        return self.chatd.users.bearing(token).ListUsers(**options)

    def assert_refused(self, token, says=""):
        with self.assert_error(OUT, reason="INVALID_TOKEN") as failure:
            self.list_users(token)
        self.assertIn(says, failure.text)

    def test_who_shows_nothing_is_not_let_in(self):
        with self.assert_error(OUT, reason="CREDENTIALS_MISSING"):
            self.chatd.users.ListUsers()

    def test_signatures_of_all_three_kinds_are_taken(self):
        for key in (self.key, *self.others[:2]):
            with self.subTest(key.algorithm):
                self.list_users(key.token("chat.read"))

    def test_a_shared_secret_is_not_taken_unless_asked_for(self):
        secret = self.others[2]
        self.assert_refused(secret.token("chat.read"), "algorithm")
        chatd = self.serve("chatd", secret, self.others[1],
                           flags=["--auth-algorithms", "HS256"])
        chatd.users.bearing(secret.token("chat.read")).ListUsers()
        confused = SigningKey("HS256", "rsa-1")
        confused.private = json.dumps(self.others[1].jwk()).encode()
        stranger = SigningKey("HS256", "hs-1")
        for key in (self.key, confused, stranger):
            with self.assert_error(OUT, reason="INVALID_TOKEN"):
                chatd.users.bearing(key.token("chat.read")).ListUsers()

    def test_claims_must_be_right(self):
        now = int(time.time())
        for says, claims in (("iss", {"iss": "https://other.example.org"}),
                             ("iss", {"without": ["iss"]}),
                             ("aud", {"aud": "other"}),
                             ("aud", {"aud": ["other", "another"]}),
                             ("aud", {"without": ["aud"]}),
                             ("exp", {"without": ["exp"]}),
                             ("expired", {"exp": now - 61}),
                             ("not valid yet", {"nbf": now + 120}),
                             ("sub", {"without": ["sub"]}),
                             ("sub", {"sub": ""}),
                             ("act_as", {"act_as": "somebody"}),
                             ("act_as", {"act_as": 0}),
                             ("act_as", {"act_as": -1}),
                             ("act_as", {"act_as": 1.5}),
                             ("act_as", {"act_as": None}),
                             ("", {"act_as": 2**63})):
            with self.subTest(claims):
                self.assert_refused(self.key.token("chat.read", **claims), says)

    def test_what_is_right_in_other_ways_is_taken(self):
        now = int(time.time())
        for claims in ({"aud": ["other", AUDIENCE]}, {"exp": now - 30}, {"nbf": now + 30},
                       {"exp": now + 0.5}, {"scope": " chat.read  unknown.scope "}):
            with self.subTest(claims):
                self.list_users(self.key.token(**({"scope": "chat.read"} | claims)))
        # Of a set with one key for the algorithm that is the one.
        self.list_users(self.key.token("chat.read", headers={"kid": None}))

    def test_forgeries_are_refused(self):
        good = self.key.token("chat.read")
        head, body, signature = good.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        stranger = SigningKey("EdDSA", "ed-1")
        rsa_pem = json.dumps(self.others[1].jwk()).encode()
        confused = part({"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}) + "." + body
        confused += "." + part(hmac.new(rsa_pem, confused.encode(), hashlib.sha256).digest())
        for name, token in {
                "another's signature": stranger.token("chat.read"),
                "other claims": ".".join([head, part(claims | {"sub": "root"}), signature]),
                "none": part({"alg": "none"}) + "." + body + ".",
                "no signature": head + "." + body + ".",
                "two parts": head + "." + body,
                "a public key as secret": confused,
                "an unknown key": self.key.token("chat.read", headers={"kid": "ed-2"}),
                "a key of its own": stranger.token(
                    "chat.read", headers={"kid": None, "jwk": stranger.jwk()}),
                "a key elsewhere": stranger.token(
                    "chat.read", headers={"kid": None, "jku": "http://127.0.0.1:9/keys"}),
                "something critical": self.key.token(
                    "chat.read", headers={"crit": ["exp2"], "exp2": 1}),
                "compressed": ".".join([part({"alg": "EdDSA", "kid": "ed-1", "zip": "DEF"}),
                                        part(zlib.compress(b"[" * 10**6)[2:-4]), signature]),
                "with blanks": good.replace(".", ". "),
                "encrypted": part({"alg": "dir", "enc": "A128GCM"}) + "..a.b.c",
                "not base64": "a!b.c.d", "nothing much": "x", "dots": "..",
                "long": "a" * 4000 + "." + "b" * 1000 + ".c"}.items():
            with self.subTest(name):
                self.assert_refused(token)

    def test_other_kinds_of_authorization_are_refused(self):
        token = self.key.token("chat.read")
        for headers in ([("authorization", "Basic YTpi")], [("authorization", "Bearer")],
                        [("authorization", token)], [("authorization", "Bearer  ")],
                        [("authorization", "Bearer  " + token)],
                        [("authorization", "Bearer " + token)] * 2):
            with self.subTest(headers), self.assert_error(OUT):
                self.chatd.users.bearing(headers=headers).ListUsers()
        self.chatd.users.bearing(headers=[("authorization", "bearer " + token)]).ListUsers()

    def test_scopes_open_methods(self):
        with self.assert_error(DENIED, reason="SCOPE_MISSING") as failure:
            self.list_users(self.key.token("chat.write message.read admin"))
        self.assertEqual(failure.metadata["scope"], "chat.read")
        with self.assert_error(DENIED, reason="SCOPE_MISSING"):
            self.chatd.users.bearing(self.key.token("chat.read")).CreateUser(login="x")
        # Before what it says is looked at.
        with self.assert_error(DENIED, reason="SCOPE_MISSING"):
            self.list_users(self.key.token(), limit=-1)
        with self.assert_error("INVALID_ARGUMENT", field="limit"):
            self.list_users(self.key.token("chat.read"), limit=-1)

    def test_the_access_line_names_the_caller_and_no_token(self):
        token = self.key.token("chat.read", sub="reports")
        self.list_users(token)
        self.assert_refused(token[:-4] + "AAAA")
        harness.poll("the line", lambda: [line for line in self.chatd.log()
                                          if line.get("caller") == "reports"])
        everything = "\n".join(self.chatd.lines)
        for piece in token.split("."):
            self.assertNotIn(piece, everything)

    def test_keys_are_replaced_while_it_runs(self):
        old, new = self.key, SigningKey("EdDSA", "ed-2")
        self.list_users(old.token("chat.read"))
        replace_file(self.jwks_file, jwks(old, new))
        harness.poll("the new key to be taken", lambda: self.takes(new))
        self.list_users(old.token("chat.read"))
        cached = old.token("chat.read")
        self.list_users(cached)
        replace_file(self.jwks_file, jwks(new))
        harness.poll("the old key to be refused", lambda: not self.takes(old))
        self.assert_refused(cached)
        for wrong, says in (("{", "not a JSON Web Key Set"),
                            (jwks(new.jwk(private=True)), "a private key")):
            replace_file(self.jwks_file, wrong)
            harness.poll("a complaint", lambda says=says: self.complains(says))
            self.list_users(new.token("chat.read"))
        os.remove(self.jwks_file)
        self.list_users(new.token("chat.read"))
        # The last key can be withdrawn, too.
        replace_file(self.jwks_file, jwks())
        harness.poll("everybody to be shut out", lambda: not self.takes(new))

    def takes(self, key):
        try:
            self.list_users(key.token("chat.read"))
            return True
        except grpc.RpcError as error:
            self.assertEqual(error.code().name, OUT)
            return False

    def complains(self, says):
        return [line for line in self.chatd.log() if line.get("file") == self.jwks_file
                and line["level"] == "error" and says in line["error"]]


class EveryMethodTest(TokenCase):
    def test_no_method_is_open_and_each_can_be_opened(self):
        for name, clients in harness.CLIENTS.items():
            service = self.serve(name)
            nothing, everything = self.key.token(), self.key.token(ALL_SCOPES)
            for client, (module, service_name) in clients.items():
                for method in harness.descriptor(module, service_name).methods:
                    with self.subTest(f"{service_name}/{method.name}"):
                        calls = getattr(service, client)
                        self.assertEqual(self.code_of(calls, method), OUT)
                        self.assertEqual(self.code_of(calls.bearing(nothing), method), DENIED)
                        self.assertNotIn(self.code_of(calls.bearing(everything), method),
                                         (OUT, DENIED))

    def code_of(self, calls, method):
        """What an empty request ends with."""
        try:
            if method.client_streaming:
                list(calls.stream(method.name, iter([])))
            elif method.server_streaming:
                list(calls.begin(method.name, timeout=1))
            else:
                calls.begin(method.name, timeout=5).result()
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def test_reflection_and_health_stay_open(self):
        chatd = self.serve("chatd")
        self.assertEqual(chatd.health_of("parley.chat.v1.UserService"), "SERVING")


if __name__ == "__main__":
    unittest.main()
