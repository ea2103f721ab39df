"""Users and passwords."""

import unittest

import harness

TAKEN = ("ALREADY_EXISTS", "LOGIN_TAKEN")
REUSED = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
UNKNOWN = ("NOT_FOUND", "USER_NOT_FOUND")
NO_SUCH_ID = 999_999_999


class UserTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def count(self, login):
        return self.database.value("SELECT count(*) FROM users WHERE login = %s", login)

    def test_a_user_comes_back_as_created(self):
        user = self.users.CreateUser(login="Eliza", name="Eliza Doolittle", password="flowers")
        self.assertGreater(user.id, 0)
        self.assertEqual((user.login, user.name, user.status), ("Eliza", "Eliza Doolittle", 1))
        self.assertGreater(user.create_time.seconds, 0)
        self.assertEqual(user.create_time, user.update_time)
        self.assertTrue(user.etag)
        self.assertEqual(self.users.GetUser(user_id=user.id), user)
        self.assertEqual(self.users.GetUser(login="Eliza"), user)

    def test_an_absent_name_stays_absent_and_an_empty_one_empty(self):
        self.assertFalse(self.new_user().HasField("name"))
        named = self.new_user(name="")
        self.assertTrue(self.users.GetUser(user_id=named.id).HasField("name"))

    def test_a_password_is_kept_as_argon2id_only(self):
        user = self.new_user(password="correct horse")
        kept = self.database.value("SELECT password_hash FROM users WHERE id = %s", user.id)
        self.assertTrue(kept.startswith("$argon2id$"))
        self.assertEqual(
            self.database.value("SELECT count(*) FROM users u WHERE u::text LIKE %s",
                                "%correct horse%"), 0)

    def test_a_login_is_one_in_any_case_and_any_unicode_form(self):
        for given, same in (("ann", "ANN"), ("bob", "\uff22\uff4f\uff42"),
                            ("Stra\u00dfe", "STRASSE"), ("\ufb01nn", "FINN"),
                            ("Andr\u00e9", "Andre\u0301"),
                            ("\u0399\u03c9\u03c2", "\u03b9\u03c9\u03c3")):
            with self.subTest(given):
                user = self.users.CreateUser(login=given)
                self.assertEqual(user.login, given)
                with self.assert_error(*TAKEN):
                    self.users.CreateUser(login=same)
                self.assertEqual(self.users.GetUser(login=same), user)

    def test_a_request_id_answers_with_the_first_user_for_ever(self):
        first = self.users.CreateUser(login="higgins", password="one", request_id="h-1")
        again = self.users.CreateUser(login="higgins", password="two", request_id="h-1")
        self.assertEqual(again, first)
        self.assertEqual(self.users.VerifyPassword(login="higgins", password="one"), first)
        with self.assert_error(*REUSED):
            self.users.CreateUser(login="pickering", request_id="h-1")
        with self.assert_error(*REUSED):
            self.users.CreateUser(login="higgins", name="Henry", request_id="h-1")
        self.assertEqual((self.count("higgins"), self.count("pickering")), (1, 0))

        renamed = self.users.UpdateUser(user={"id": first.id, "name": "Henry"})
        self.assertEqual(self.users.CreateUser(login="higgins", request_id="h-1"), renamed)
        self.users.DeleteUser(user_id=first.id)
        with self.assert_error(*UNKNOWN):
            self.users.CreateUser(login="higgins", request_id="h-1")
        self.assertEqual(self.count("higgins"), 0)

    def test_a_refused_request_does_not_use_up_its_request_id(self):
        self.users.CreateUser(login="freddy")
        with self.assert_error(*TAKEN):
            self.users.CreateUser(login="Freddy", request_id="f-1")
        self.assertEqual(self.users.CreateUser(login="fred", request_id="f-1").login, "fred")

    def test_eight_twins_create_one_user(self):
        users = harness.in_threads(
            8, lambda _: self.users.CreateUser(login="twin", request_id="twin-1"))
        self.assertEqual({user.id for user in users}, {users[0].id})
        self.assertEqual(self.count("twin"), 1)

    def test_of_eight_who_want_a_login_one_gets_it(self):
        def want(_):
            try:
                return self.users.CreateUser(login="wanted").id
            except harness.grpc.RpcError as error:
                return harness.Failure().read(error)

        answers = harness.in_threads(8, want)
        refused = [answer for answer in answers if isinstance(answer, harness.Failure)]
        for failure in refused:
            self.check_failure(failure, *TAKEN)
        self.assertEqual(len(refused), 7)
        self.assertEqual(self.count("wanted"), 1)

    def test_a_batch_keeps_the_order_of_the_ids(self):
        one, two = self.new_user(), self.new_user()
        reply = self.users.BatchGetUsers(user_ids=[two.id, NO_SUCH_ID, one.id, two.id])
        self.assertEqual(list(reply.users), [two, one])
        for ids in ([], range(1, 102), [0], [-1]):
            with self.assert_error("INVALID_ARGUMENT", field="user_ids"):
                self.users.BatchGetUsers(user_ids=ids)

    def test_an_unknown_user_is_named(self):
        for call in (lambda: self.users.GetUser(user_id=NO_SUCH_ID),
                     lambda: self.users.UpdateUser(user={"id": NO_SUCH_ID, "name": "x"}),
                     lambda: self.users.SetPassword(user_id=NO_SUCH_ID, password="x"),
                     lambda: self.users.DeleteUser(user_id=NO_SUCH_ID)):
            with self.assert_error(*UNKNOWN) as failure:
                call()
            self.assertIn(str(NO_SUCH_ID), failure.metadata.values())
        with self.assert_error(*UNKNOWN):
            self.users.GetUser(login="nobody at all")

    def test_the_mask_says_what_changes(self):
        user = self.new_user(login="mask", name="before")

        def update(paths, **fields):
            return self.users.UpdateUser(user={"id": user.id, **fields},
                                         update_mask={"paths": paths})

        changed = self.users.UpdateUser(user={"id": user.id, "name": "absent mask"})
        self.assertEqual((changed.login, changed.name), ("mask", "absent mask"))
        changed = update(["name"], name="only this", login="not this")
        self.assertEqual((changed.login, changed.name), ("mask", "only this"))
        self.assertFalse(update(["name"]).HasField("name"))
        changed = update(["*"], login="masked", status="USER_STATUS_BLOCKED")
        self.assertEqual((changed.login, changed.status), ("masked", 2))
        self.assertFalse(changed.HasField("name"))
        for path in ("password", "id", "create_time", "no_such_field"):
            with self.assert_error("INVALID_ARGUMENT", field="update_mask"):
                update([path], name="x")
        with self.assert_error("INVALID_ARGUMENT", field="user.login"):
            update(["login"])
        with self.assert_error("INVALID_ARGUMENT", field="user.status"):
            update(["status"], status=77)
        self.new_user(login="occupied")
        with self.assert_error(*TAKEN):
            update(["login"], login="OCCUPIED")
        self.assertEqual(self.users.GetUser(user_id=user.id), changed)

    def test_an_old_etag_aborts_and_changes_nothing(self):
        user = self.new_user(name="one")
        newer = self.users.UpdateUser(user={"id": user.id, "name": "two", "etag": user.etag})
        self.assertNotEqual(newer.etag, user.etag)
        self.assertGreater(newer.update_time.ToNanoseconds(), user.update_time.ToNanoseconds())
        for etag in (user.etag, "no etag"):
            with self.assert_error("ABORTED", "ETAG_MISMATCH"):
                self.users.UpdateUser(user={"id": user.id, "name": "three", "etag": etag})
        self.assertEqual(self.users.GetUser(user_id=user.id), newer)

    def test_of_eight_updates_with_one_etag_one_wins(self):
        user = self.new_user()

        def update(index):
            try:
                self.users.UpdateUser(user={"id": user.id, "name": str(index), "etag": user.etag})
                return "OK"
            except harness.grpc.RpcError as error:
                return error.code().name

        answers = harness.in_threads(8, update)
        self.assertEqual(sorted(answers), ["ABORTED"] * 7 + ["OK"])


class PasswordTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def refusal(self, login, password):
        with self.assert_error("UNAUTHENTICATED", "WRONG_CREDENTIALS") as failure:
            self.users.VerifyPassword(login=login, password=password)
        return failure.text, failure.trailer

    def test_the_right_password_answers_with_the_user(self):
        user = self.new_user(login="Karl", password="gr\u00fcn \U0001f332")
        self.assertEqual(
            self.users.VerifyPassword(login="KARL", password="gr\u00fcn \U0001f332"), user)

    def test_nothing_tells_a_wrong_login_from_a_wrong_password(self):
        self.new_user(login="known", password="right")
        self.new_user(login="without password")
        self.block(self.new_user(login="blocked and wrong", password="right"))
        refusals = {self.refusal(login, "wrong") for login in (
            "known", "unknown", "without password", "blocked and wrong")}
        self.assertEqual(len(refusals), 1)

    def test_a_blocked_user_is_told_so_only_after_the_right_password(self):
        user = self.new_user(login="alfred", password="right")
        self.block(user)
        with self.assert_error("PERMISSION_DENIED", "USER_BLOCKED"):
            self.users.VerifyPassword(login="alfred", password="right")
        self.refusal("alfred", "wrong")

    def test_a_password_can_be_changed_and_removed(self):
        user = self.new_user(login="clara", password="old")
        self.assertEqual(self.users.SetPassword(user_id=user.id, password="new").id, user.id)
        self.refusal("clara", "old")
        self.users.VerifyPassword(login="clara", password="new")
        self.users.SetPassword(user_id=user.id)
        self.refusal("clara", "new")
        with self.assert_error("INVALID_ARGUMENT", field="password"):
            self.users.VerifyPassword(login="clara", password="")

    def test_a_password_has_at_most_1024_bytes_and_none_of_them_is_ignored(self):
        longest = "\u00e9" * 512
        user = self.new_user(login="long", password=longest)
        self.users.VerifyPassword(login="long", password=longest)
        self.refusal("long", longest[:-1])
        for call in (lambda: self.users.CreateUser(login="x", password=longest + "x"),
                     lambda: self.users.SetPassword(user_id=user.id, password=longest + "x"),
                     lambda: self.users.VerifyPassword(login="long", password=longest + "x")):
            with self.assert_error("INVALID_ARGUMENT", field="password"):
                call()
        self.users.SetPassword(user_id=user.id, password="a\0b")
        self.users.VerifyPassword(login="long", password="a\0b")
        self.refusal("long", "a")

    def test_many_password_checks_leave_room_for_other_calls(self):
        user = self.new_user(login="busy", password="right")
        checks = [self.users.begin("VerifyPassword", login="busy", password="right")
                  for _ in range(40)]
        self.assertEqual(self.users.GetUser(user_id=user.id), user)
        self.assertFalse(all(check.done() for check in checks))
        self.assertEqual({check.result().id for check in checks}, {user.id})


class DeleteUserTest(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def test_memberships_go_with_the_user_and_the_chat_stays(self):
        owner, member = self.new_user(), self.new_user()
        chat = self.new_chat(owner, [member])
        self.users.DeleteUser(user_id=member.id)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 1)
        self.users.DeleteUser(user_id=owner.id)
        left = self.chats.GetChat(chat_id=chat.id)
        self.assertEqual((left.user_count, left.creator_user_id), (0, owner.id))
        with self.assert_error(*UNKNOWN):
            self.users.DeleteUser(user_id=owner.id)
        self.assertGreater(self.new_user().id, member.id)

    def test_who_has_written_messages_stays_until_they_are_gone(self):
        owner, author = self.new_user(), self.new_user()
        chat = self.new_chat(owner, [author])
        message = self.messages.SendMessage(chat_id=chat.id, user_id=author.id, text="here")
        for _ in range(2):  # the message itself, then its tombstone
            with self.assert_error("FAILED_PRECONDITION", "USER_HAS_MESSAGES"):
                self.users.DeleteUser(user_id=author.id)
            self.messages.DeleteMessage(message_id=message.id, user_id=author.id)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 2)
        self.chats.DeleteChat(chat_id=chat.id)
        self.users.DeleteUser(user_id=author.id)
        with self.assert_error(*UNKNOWN):
            self.users.GetUser(user_id=author.id)


if __name__ == "__main__":
    unittest.main()
