"""Passwords cannot be guessed for long, through whichever process."""

import unittest

import harness
from token_cases import TokenCase

WRONG = "WRONG_CREDENTIALS"
GUESSED = "TOO_MANY_WRONG_PASSWORDS"


class GuessingTest(TokenCase):
    def guess(self, users, reason, login="ann", password="wrong"):
        code = "RESOURCE_EXHAUSTED" if reason == GUESSED else "UNAUTHENTICATED"
        with self.assert_error(code, reason=reason) as failure:
            users.VerifyPassword(login=login, password=password)
        return failure

    def test_of_a_login_by_all_processes_together(self):
        one, other = (self.start("chatd", "--login-failures", "4") for _ in range(2))
        one.users.CreateUser(login="ann", password="right")
        for users in (one.users, other.users) * 2:
            self.guess(users, WRONG)
        for users in (one.users, other.users):
            failure = self.guess(users, GUESSED)
            self.assertTrue(30 < failure.retry_delay <= 60, failure.retry_delay)
            # Not even the right one, or guessing would go on.
            self.guess(users, GUESSED, password="right")
            self.guess(users, GUESSED, login="ANN")
        other.users.CreateUser(login="bob", password="right")
        one.users.VerifyPassword(login="bob", password="right")
        # A login that does not exist is no different.
        for _ in range(4):
            self.guess(one.users, WRONG, login="nobody")
        self.guess(one.users, GUESSED, login="nobody")
        # A minute later one more.
        self.database.script(
            "UPDATE password_attempts SET forgiven_at = forgiven_at - interval '61 s'")
        self.guess(one.users, WRONG)
        self.guess(other.users, GUESSED)

    def test_the_right_one_starts_anew(self):
        chatd = self.start("chatd", "--login-failures", "3")
        chatd.users.CreateUser(login="eve", password="right")
        for _ in range(3):
            for _ in range(2):
                self.guess(chatd.users, WRONG, login="eve")
            chatd.users.VerifyPassword(login="eve", password="right")

    def test_of_a_caller_whatever_the_login(self):
        chatd = self.serve("chatd", flags=["--login-failures", "0"])
        careless, other = (chatd.users.bearing(self.key.token("chat.write", sub=name))
                           for name in ("careless", "other"))
        self.guess(careless, WRONG, login="a")
        counted = "SELECT subject FROM password_attempts WHERE starts_with(subject, 'caller')"
        self.assertEqual(self.database.rows(counted), [("caller:careless",)])
        # Ten a second are forgiven: as if there had been very many.
        self.database.script(
            "UPDATE password_attempts SET forgiven_at = forgiven_at + interval '10 minutes'")
        self.assertLess(self.guess(careless, GUESSED, login="b").retry_delay, 600)
        self.guess(other, WRONG, login="d")

    def test_what_is_forgiven_is_removed(self):
        chatd = self.start("chatd")
        self.database.script(
            "INSERT INTO password_attempts SELECT 'login:old' || i, now() - interval '1 s'"
            " FROM generate_series(1, 4) AS i")
        old = "SELECT count(*) FROM password_attempts WHERE starts_with(subject, 'login:old')"
        self.guess(chatd.users, WRONG, login="x")
        self.assertEqual(self.database.value(old), 1)
        self.guess(chatd.users, WRONG, login="x")
        self.assertEqual(self.database.value(old), 0)


if __name__ == "__main__":
    unittest.main()
