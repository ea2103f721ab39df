"""What the original application did, row by row; each works here, and better.

The rows are those of the original's parts: its repositories, request models, tables, migrations and
delayed task.
"""

import datetime
import os
import subprocess
import time
import unittest
import zoneinfo

import harness


class OriginalTest(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged", "schedulerd")

    def send(self, chat, user, text):
        return self.messages.SendMessage(chat_id=chat.id, user_id=user.id, text=text)

    def test_a_chat_is_created_with_its_creator_as_a_member(self):
        creator = self.new_user()
        chat = self.chats.CreateChat(creator_user_id=creator.id, title="Row one",
                                     chat_type="CHAT_TYPE_PRIVATE")
        self.assertEqual(list(chat.users), [creator])
        with self.assert_error("NOT_FOUND", "USER_NOT_FOUND"):
            self.chats.CreateChat(creator_user_id=999_999, title="nobody's",
                                  chat_type="CHAT_TYPE_PRIVATE")
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM chats WHERE title = %s", "nobody's"), 0)

    def test_a_user_is_added_to_a_chat_once_and_the_chat_comes_back_with_its_users(self):
        creator, user = self.new_user(), self.new_user()
        chat = self.new_chat(creator)
        for _ in range(2):
            answer = self.chats.AddUserToChat(chat_id=chat.id, user_id=user.id)
            self.assertEqual((answer.id, list(answer.users)), (chat.id, [creator, user]))
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM chat_user WHERE chat_id = %s AND user_id = %s",
            chat.id, user.id), 1)

    def test_users_chats_and_messages_are_created_found_listed_changed_and_deleted(self):
        user = self.new_user(name="old")
        self.assertEqual(self.users.GetUser(user_id=user.id), user)
        self.assertIn(user, self.users.ListUsers(limit=100).users)
        changed = self.users.UpdateUser(user={"id": user.id, "name": "new"})
        self.assertEqual(changed.name, "new")

        chat = self.new_chat(user)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id), chat)
        self.assertIn(chat, self.chats.ListChats(limit=100).chats)
        changed = self.chats.UpdateChat(chat={"id": chat.id, "title": "new"})
        self.assertEqual(changed.title, "new")

        message = self.send(chat, user, "old")
        self.assertEqual(self.messages.GetMessage(message_id=message.id), message)
        changed = self.messages.UpdateMessage(message={"id": message.id, "text": "new"},
                                              user_id=user.id)
        self.assertEqual(list(self.messages.ListMessages(chat_id=chat.id).messages), [changed])

        self.messages.DeleteMessage(message_id=message.id, user_id=user.id)
        self.assertEqual(list(self.messages.ListMessages(chat_id=chat.id).messages), [])
        self.chats.DeleteChat(chat_id=chat.id)
        with self.assert_error("NOT_FOUND", "CHAT_NOT_FOUND"):
            self.chats.GetChat(chat_id=chat.id)
        self.users.DeleteUser(user_id=user.id)
        with self.assert_error("NOT_FOUND", "USER_NOT_FOUND"):
            self.users.GetUser(user_id=user.id)

    def test_the_last_messages_come_newest_first_by_offset_and_limit(self):
        user = self.new_user()
        chat = self.new_chat(user)
        texts = [f"message {i}" for i in range(30)]
        for text in texts:
            self.send(chat, user, text)
        for page, expected in (({}, texts[:9:-1]), ({"offset": 20}, texts[9::-1]),
                               ({"offset": 5, "limit": 2}, ["message 24", "message 23"])):
            reply = self.messages.ListMessages(chat_id=chat.id, **page)
            self.assertEqual([message.text for message in reply.messages], expected)

    def test_a_request_that_lacks_something_is_told_what(self):
        for call, field in ((lambda: self.users.CreateUser(), "login"),
                            (lambda: self.chats.CreateChat(title="t", chat_type=1),
                             "creator_user_id"),
                            (lambda: self.chats.CreateChat(creator_user_id=1, title="t"),
                             "chat_type"),
                            (lambda: self.chats.CreateChat(creator_user_id=1, title="t",
                                                           chat_type=9), "chat_type"),
                            (lambda: self.messages.SendMessage(chat_id=1, text="x"), "user_id"),
                            (lambda: self.messages.SendMessage(user_id=1, text="x"), "chat_id"),
                            (lambda: self.messages.SendMessage(chat_id=1, user_id=1), "text")):
            with self.assert_error("INVALID_ARGUMENT", field=field):
                call()
        self.assertFalse(self.new_chat(self.new_user()).HasField("description"))

    def test_the_tables_keep_their_rules(self):
        user, author = self.new_user(), self.new_user()
        with self.assert_error("ALREADY_EXISTS", "LOGIN_TAKEN"):
            self.users.CreateUser(login=user.login)
        chat = self.new_chat(user, [author])
        self.send(chat, author, "still here")
        with self.assert_error("FAILED_PRECONDITION", "USER_HAS_MESSAGES"):
            self.users.DeleteUser(user_id=author.id)
        self.chats.DeleteChat(chat_id=chat.id)
        for table in ("chat_user", "messages"):
            self.assertEqual(self.database.value(
                f"SELECT count(*) FROM {table} WHERE chat_id = %s", chat.id), 0)
        member_of = self.new_chat(user, [author])
        self.users.DeleteUser(user_id=author.id)
        self.assertEqual(self.chats.GetChat(chat_id=member_of.id).user_count, 1)
        self.assertLessEqual(abs(member_of.create_time.ToSeconds() - time.time()), 600)

    def test_migrations_are_applied_online_and_printed_offline(self):
        script = harness.run_binary("migrate", "sql").stdout
        offline = harness.Database("offline", migrate=False)
        self.addCleanup(offline.drop)
        subprocess.run(["psql", "-X", "-q", "-o", os.devnull, "-d", offline.url], input=script, text=True,
                       check=True, timeout=harness.PATIENCE)
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        self.assertEqual(offline.rows(tables), self.database.rows(tables))
        self.assertLessEqual({("users",), ("chats",), ("chat_user",), ("messages",), ("tasks",)},
                             set(offline.rows(tables)))
        versions = "SELECT version FROM schema_migrations ORDER BY version"
        self.assertEqual(offline.rows(versions), self.database.rows(versions))
        self.assertNotIn("pending", offline.migrate("status", "--check").stdout)
        self.assertEqual(offline.migrate("up").stdout.strip(), "nothing to do")
        latest = offline.rows(versions)[-1][0]
        self.assertEqual(offline.migrate("version").stdout.count(latest), 2)
        service = self.start("chatd", url=offline.url)
        self.assertGreater(service.users.CreateUser(login="first").id, 0)

    def test_a_task_is_sent_for_later_in_the_zone_that_tz_names(self):
        zone = "America/St_Johns"
        service = self.start("schedulerd", env={"TZ": zone})
        waiting = service.workers.begin("LeaseTasks", queues=["queue.test"],
                                        wait_for={"seconds": 50})
        eta = datetime.datetime.now(zoneinfo.ZoneInfo(zone)) + datetime.timedelta(seconds=2)
        task = service.tasks.CreateTask(
            queue="queue.test", name="queue.test",
            local_time={"date_time": eta.replace(tzinfo=None, fold=0).isoformat(),
                        "fold_policy": 1 + eta.fold})
        self.assertEqual(task.local_time.time_zone, zone)
        self.assertEqual(task.run_time.ToMicroseconds(), round(eta.timestamp() * 10**6))
        lease = waiting.result().leases[0]
        self.assertGreaterEqual(time.time(), eta.timestamp())
        self.assertEqual(lease.task.id, task.id)
        done = service.workers.AckTask(task_id=task.id, lease_token=lease.lease_token)
        self.assertEqual(done.state, 3)


if __name__ == "__main__":
    unittest.main()
