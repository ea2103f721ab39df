"""Everything is killed, again and again, while people write: processes, and PostgreSQL itself.

PARLEY_TEST_SEED repeats the choices of a run, though not its timing; PARLEY_TEST_SECONDS sets how
long it goes on.
"""

import collections
import itertools
import random
import threading
import time
import unittest

import grpc

import harness
import storm
from cluster import Cluster
from database import Database

WRITERS = 8
CHATS = 5
WATCHERS = 2


class Writer(storm.Caller):
    """One client: sends, edits, deletes, reads, and repeats each call until it is answered."""

    def __init__(self, test, number, seed):
        super().__init__()
        self.test, self.number = test, number
        self.random = random.Random(f"{seed} {number}")
        self.user = test.people[number].id
        self.answered = {}  # (chat_id, request_id) -> (seq, message id)
        self.unanswered = set()  # (chat_id, request_id)
        self._names = itertools.count()

    def messages(self):
        return self.random.choice(self.test.processes.running).messages

    def new_message(self):
        name = f"{self.number}-{next(self._names)}"
        return {"chat_id": self.random.choice(self.test.chat_ids), "user_id": self.user,
                "text": "text of " + name, "request_id": name}

    def keep(self, message, answer):
        self.test.assertEqual((answer.chat_id, answer.user_id), (message["chat_id"], self.user))
        self.answered[message["chat_id"], message["request_id"]] = (answer.seq, answer.id)

    def send(self):
        message = self.new_message()
        self.keep(message, self.until_answered(
            lambda: self.messages().SendMessage(timeout=3, **message)))

    def batch_send(self):
        left = [self.new_message() for _ in range(self.random.randint(2, 30))]
        deadline = time.monotonic() + harness.PATIENCE
        while left:
            answer = self.until_answered(
                lambda left=left: self.messages().BatchSendMessages(timeout=3, requests=left))
            again = []
            for message, result in zip(left, answer.results):
                if result.WhichOneof("outcome") == "message":
                    self.keep(message, result.message)
                    continue
                self.passes(result.error)
                again.append(message)
            self.test.assertLess(time.monotonic(), deadline, "a batch is never answered")
            left = again

    def change(self):
        if not self.answered:
            return
        (chat_id, _), (seq, _) = self.random.choice(list(self.answered.items()))
        if self.random.random() < 0.3:
            self.until_answered(lambda: self.messages().DeleteMessage(
                timeout=3, chat_id=chat_id, seq=seq, user_id=self.user))
            return
        text = f"edited by {self.number} {next(self._names)}"

        def edit():
            try:
                return self.messages().UpdateMessage(
                    timeout=3, message={"chat_id": chat_id, "seq": seq, "text": text},
                    user_id=self.user)
            except grpc.RpcError as error:
                if error.code().name == "FAILED_PRECONDITION":  # it has been deleted
                    return None
                raise
        self.until_answered(edit)

    def read(self):
        chat_id = self.random.choice(self.test.chat_ids)
        self.until_answered(lambda: self.messages().MarkRead(
            timeout=3, chat_id=chat_id, user_id=self.user, seq=self.random.choice((2**40, 5))))
        page = self.until_answered(
            lambda: self.messages().ListMessages(timeout=3, chat_id=chat_id, show_deleted=True))
        seqs = [message.seq for message in page.messages]
        self.test.assertEqual(seqs, list(range(max(seqs, default=0),
                                               max(seqs, default=0) - len(seqs), -1)))

    def run(self):
        while not self.test.over.is_set():
            self.random.choices((self.send, self.batch_send, self.change, self.read),
                                (6, 3, 2, 1))[0]()
        # The last words, whose answer nobody waits for.
        for _ in range(20):
            message = self.new_message()
            try:
                self.keep(message, self.messages().SendMessage(timeout=0.002, **message))
            except grpc.RpcError:
                self.unanswered.add((message["chat_id"], message["request_id"]))


class Watcher:
    """Watches all chats; after every end it goes on from the last token, at any process."""

    def __init__(self, test, seed, number):
        self.test = test
        self.random = random.Random(f"{seed} watcher {number}")
        self.token = ""
        self.sent = collections.defaultdict(list)  # chat -> seqs, as they came
        self.changes = collections.defaultdict(list)  # chat -> (kind, seq), as they came
        self.resumed = -1
        self.begun = threading.Event()
        self.unimplemented = False
        self.problem = None
        self._call = None
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._over:
            self.resumed += 1
            try:
                self._call = self.random.choice(self.test.processes.running).messages.WatchMessages(
                    timeout=self.random.uniform(2, 20), chat_ids=self.test.chat_ids,
                    resume_token=self.token)
                for frame in self._call:
                    self._take(frame)
            except grpc.RpcError as error:
                if error.code().name == "UNIMPLEMENTED":
                    self.unimplemented = True
                    return
                if error.code().name not in storm.PASSING:
                    self.problem = f"{error.code()}: {error.details()}"
                    return
                time.sleep(0.02)
            except AssertionError as error:
                self.problem = str(error)
                return

    def _take(self, frame):
        for event in frame.events:
            kind = event.WhichOneof("event")
            message = getattr(event, kind)
            seqs = self.sent[message.chat_id]
            if kind == "sent":
                seqs.append(message.seq)
                self.test.assertEqual(message.seq, len(seqs), "a gap or a repeat")
            else:
                self.test.assertLessEqual(message.seq, len(seqs), "changed before it was sent")
                self.changes[message.chat_id].append((kind, message.seq))
        self.token = frame.resume_token
        self.begun.set()

    def stop(self):
        self._over = True
        if self._call is not None:
            self._call.cancel()
        self._thread.join(harness.PATIENCE)


class ChaosTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    @classmethod
    def new_database(cls):
        cls.cluster = Cluster("max_connections = 100", "shared_buffers = 32MB")
        cls.addClassCleanup(cls.cluster.remove)
        return Database("chaos", cluster_url=cls.cluster.url)

    def setUp(self):
        self.people = [self.new_user() for _ in range(WRITERS)]
        self.chat_ids = [self.new_chat(self.people[0], self.people[1:]).id for _ in range(CHATS)]
        self.over = threading.Event()

    def test_nothing_answered_is_lost_doubled_or_out_of_order(self):
        seed = storm.seed()
        self.processes = storm.Processes(self, "messaged", 2, self.database.url)
        watchers = [Watcher(self, seed, number) for number in range(WATCHERS)]
        try:
            self.disturb_and_check(seed, watchers)
        finally:  # before the clean-up hangs up on the processes that they would call
            for watcher in watchers:
                watcher.stop()

    def disturb_and_check(self, seed, watchers):
        for watcher in watchers:
            harness.poll("the watch to begin",
                         lambda w=watcher: w.begun.is_set() or w.unimplemented or w.problem)
        writers = [Writer(self, number, seed) for number in range(WRITERS)]
        threads = threading.Thread(target=self.write, args=(writers,))
        threads.start()
        try:
            chooser = random.Random(seed)
            process = ("process", lambda: self.processes.kill_one(chooser))
            counts = storm.disturb(chooser, storm.SECONDS, (
                process, process, ("database", self.cluster.crash), process, process))
        finally:
            self.over.set()
            threads.join()
        self.assertIsNone(self.failure)
        passing = sum((writer.passing for writer in writers), collections.Counter())
        print(f"{sum(len(w.answered) for w in writers)} answered; killed {dict(counts)};"
              f" repeated after {dict(passing)};"
              f" watches resumed {[watcher.resumed for watcher in watchers]}", flush=True)
        self.assertGreater(passing["UNAVAILABLE"], 0, "nothing was disturbed")
        # What nobody waited for may still be on its way.
        self.processes.kill_all(self.database)
        self.check_messages(writers)
        self.check_unread()
        for watcher in watchers:
            self.check_watcher(watcher)

    def write(self, writers):
        self.failure = None
        try:
            harness.in_threads(WRITERS, lambda number: writers[number].run())
        except BaseException as failure:  # of the other threads, for the main one to raise
            self.failure = failure

    def check_messages(self, writers):
        stored = {}
        for chat_id in self.chat_ids:
            rows = self.database.rows(
                "SELECT seq, user_id, request_id, id, created_at FROM messages"
                " WHERE chat_id = %s ORDER BY seq", chat_id)
            self.assertEqual([row[0] for row in rows], list(range(1, len(rows) + 1)))
            self.assertEqual(
                self.database.value("SELECT last_seq FROM chats WHERE id = %s", chat_id),
                len(rows))
            times = [row[4] for row in rows]
            self.assertEqual(times, sorted(times), "times go back")
            for seq, user_id, request_id, message_id, _ in rows:
                key = (chat_id, user_id, request_id)
                self.assertNotIn(key, stored, "written twice")
                stored[key] = (seq, message_id)
        for writer in writers:
            for (chat_id, request_id), answer in writer.answered.items():
                self.assertEqual(stored.pop((chat_id, writer.user, request_id), None), answer)
        unanswered = {(chat_id, writer.user, request_id) for writer in writers
                      for chat_id, request_id in writer.unanswered}
        self.assertLessEqual(set(stored), unanswered, "written, though nobody sent it")

    def check_unread(self):
        messages = self.processes.running[0].messages
        for person in self.people:
            counts = messages.GetUnreadCounts(user_id=person.id).counts
            self.assertEqual(
                [(count.chat_id, count.read_seq, count.last_seq, count.unread_count)
                 for count in counts],
                self.database.rows(
                    "SELECT c.id, u.read_seq, c.last_seq, (SELECT count(*) FROM messages m"
                    "  WHERE m.chat_id = c.id AND m.seq > u.read_seq AND m.user_id <> u.user_id"
                    "  AND NOT m.deleted)"
                    " FROM chat_user u JOIN chats c ON c.id = u.chat_id"
                    " WHERE u.user_id = %s ORDER BY c.id", person.id))

    def check_watcher(self, watcher):
        if watcher.unimplemented:
            self.skipTest("WatchMessages is not there")
        for chat_id in self.chat_ids:
            last_seq = self.database.value("SELECT last_seq FROM chats WHERE id = %s", chat_id)
            events = self.database.rows("SELECT kind, seq FROM message_events WHERE chat_id = %s"
                                        " ORDER BY event", chat_id)
            harness.poll("the watcher to see all", lambda c=chat_id, n=last_seq, m=len(events): (
                watcher.problem
                or (len(watcher.sent[c]) >= n and len(watcher.changes[c]) >= m)), seconds=20)
            self.assertIsNone(watcher.problem)
            self.assertEqual(watcher.sent[chat_id], list(range(1, last_seq + 1)))
            self.assertEqual(watcher.changes[chat_id], events)


if __name__ == "__main__":
    unittest.main()
