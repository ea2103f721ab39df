"""Two processes write to the same chats, each in an order of its own; nobody is told of it."""

import collections
import os
import random
import threading
import time
import unittest

import grpc

import harness

WRITERS = 10
CHATS = 8
SECONDS = float(os.environ.get("PARLEY_TEST_SECONDS", "8"))


class DeadlockTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.services = [self.start("messaged"), self.start("messaged")]
        self.people = [self.new_user().id for _ in range(WRITERS)]
        owner = self.new_user()
        members = [self.users.GetUser(user_id=user) for user in self.people]
        self.chat_ids = [self.new_chat(owner, members).id for _ in range(CHATS)]
        self.answers = collections.Counter()
        self.lock = threading.Lock()

    def count(self, method, call):
        """What became of a call that nothing is wrong with."""
        try:
            answer = call()
            codes = [result.error.code for result in getattr(answer, "results", ())]
            outcome = "OK" if not any(codes) else f"codes {set(codes)}"
        except grpc.RpcError as error:
            outcome = f"{error.code().name} {error.details()}"
        with self.lock:
            self.answers[method, outcome] += 1

    def batch(self, messages, user, chooser):
        """To all chats or some, in any order, one chat several times."""
        chats = chooser.choices(self.chat_ids, k=chooser.randint(2, 30))
        self.count("BatchSendMessages", lambda: messages.BatchSendMessages(requests=[
            {"chat_id": chat_id, "user_id": user, "text": "one of many"} for chat_id in chats]))

    def write(self, number, until):
        chooser = random.Random(number)
        user = self.people[number]
        while time.monotonic() < until:
            messages = self.services[chooser.randrange(2)].messages
            chat_id = chooser.choice(self.chat_ids)
            what = chooser.random()
            if what < 0.6:
                self.batch(messages, user, chooser)
            elif what < 0.75:
                self.count("SendMessage", lambda: messages.SendMessage(
                    chat_id=chat_id, user_id=user, text="one alone"))
            elif what < 0.85:
                self.count("MarkRead", lambda: messages.MarkRead(
                    chat_id=chat_id, user_id=user, seq=2**40))
            elif what < 0.95:
                self.change(messages, chat_id, user, chooser)
            else:
                self.count("AddUserToChat", lambda: self.chats.AddUserToChat(
                    chat_id=chat_id, user_id=user))

    def change(self, messages, chat_id, user, chooser):
        page = messages.ListMessages(chat_id=chat_id, limit=200).messages
        own = [message for message in page if message.user_id == user]
        if not own:
            return
        message = chooser.choice(own)
        if chooser.random() < 0.5:
            self.count("UpdateMessage", lambda: messages.UpdateMessage(
                message={"id": message.id, "text": "said better"}, user_id=user))
        else:
            self.count("DeleteMessage", lambda: messages.DeleteMessage(
                message_id=message.id, user_id=user))

    def test_batches_over_the_same_chats_get_in_nobodys_way(self):
        until = time.monotonic() + SECONDS
        harness.in_threads(WRITERS, lambda number: self.write(number, until))
        deadlocks = self.database.value(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        print(f"{dict(self.answers)}; {deadlocks} deadlocks", flush=True)
        self.assertEqual({outcome for _, outcome in self.answers}, {"OK"})
        for service in self.services:
            for line in service.log():
                self.assertIn(line["level"], ("info", "debug"), line)
                self.assertIn(line.get("grpc.code", "OK"), ("OK",), line)
        for chat_id in self.chat_ids:
            self.assertEqual(
                self.database.rows("SELECT count(*), max(seq) FROM messages WHERE chat_id = %s",
                                   chat_id),
                self.database.rows("SELECT last_seq, last_seq FROM chats WHERE id = %s", chat_id))


if __name__ == "__main__":
    unittest.main()
