"""Callers that go on whatever happens to the database, and what they have been told."""

import collections
import itertools
import threading
import time

import grpc

import harness

# How long after the database is back a service may still say no. What it takes is printed; this only
# tells one that comes back from one that does not.
PATIENCE = 30
# What may be answered while the database is away; every call is repeated then.
PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"}
LANES = {
    "send": "hot lane of messaged", "read": "read lane of messaged",
    "task": "hot lane of schedulerd", "user": "pool of chatd",
}


class Writer(threading.Thread):
    """Makes one call after the other, each with a request id and until it is answered."""

    def __init__(self, kind, call):
        super().__init__(daemon=True)
        self.kind = kind
        self.answered = {}  # request id -> what the answer says
        self.refused = collections.Counter()  # codes
        self.successes = []  # when calls that succeeded began
        self.problem = None
        self._call = call
        self._over = threading.Event()
        self.start()

    def run(self):
        try:
            for number in itertools.count():
                if self._over.is_set():
                    return
                self._until_answered(f"{self.kind}-{number}")
                self._over.wait(0.01)
        except Exception as error:  # for the main thread to raise
            self.problem = error

    def _until_answered(self, request_id):
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            began = time.monotonic()
            try:
                self.answered[request_id] = self._call(request_id)
                self.successes.append(began)
                return
            except grpc.RpcError as error:
                code = error.code().name
                if code not in PASSING or began > deadline:
                    raise AssertionError(f"{self.kind}: {code} {error.details()}") from error
                self.refused[code] += 1
                time.sleep(0.02)

    def stop(self):
        self._over.set()
        self.join(harness.PATIENCE)


class OutageCase(harness.SystemTest, harness.People):
    """Services on a cluster of the test's own, and writers on all roads to the database."""

    def begin(self, url, *flags):
        """Starts the services and the writers."""
        self.services = {name: self.start(name, *flags, url=url) for name in harness.CLIENTS}
        for name, service in self.services.items():
            for client in harness.CLIENTS[name]:
                setattr(self, client, getattr(service, client))
        self.owner = self.users.CreateUser(login="owner")
        self.chat = self.chats.CreateChat(creator_user_id=self.owner.id, title="a chat",
                                          chat_type="CHAT_TYPE_GROUP")
        self.writers = {kind: Writer(kind, getattr(self, "call_" + kind)) for kind in LANES}
        self.addCleanup(self.stop_writers)

    def stop_writers(self):
        for writer in self.writers.values():
            writer.stop()

    def call_send(self, request_id):
        sent = self.messages.SendMessage(timeout=5, chat_id=self.chat.id, user_id=self.owner.id,
                                         text=request_id, request_id=request_id)
        return sent.seq, sent.id

    def call_read(self, _):
        return len(self.messages.ListMessages(timeout=5, chat_id=self.chat.id).messages)

    def call_task(self, request_id):
        return self.tasks.CreateTask(timeout=5, queue="outage", name=request_id, request_id=request_id,
                                     delay={"seconds": 3600}).id

    def call_user(self, request_id):
        return self.users.CreateUser(timeout=5, login=request_id, request_id=request_id).id

    def are_refused(self, *kinds):
        """Waits until each road says that the database is away."""
        before = {kind: self.writers[kind].refused["UNAVAILABLE"] for kind in kinds}
        for kind, count in before.items():
            harness.poll(f"{kind} to be refused", lambda k=kind, n=count: (
                self.writers[k].problem or self.writers[k].refused["UNAVAILABLE"] > n))
            self.assertIsNone(self.writers[kind].problem)

    def have_health(self, expected):
        for name, service in self.services.items():
            harness.poll(f"{name} to be {expected}", lambda s=service: s.health_of("") == expected)

    def come_back(self, what, since):
        """Waits until all is well again; prints how long it took."""
        taken = {}
        for kind, writer in self.writers.items():
            harness.poll(f"{kind} to come back", lambda w=writer: (
                w.problem or (w.successes and w.successes[-1] >= since)), PATIENCE)
            self.assertIsNone(writer.problem)
            taken[kind] = next(at for at in writer.successes if at >= since) - since
        self.have_health("SERVING")
        taken["health"] = time.monotonic() - since
        print(f"{what}: back after " + ", ".join(f"{kind} {seconds:.2f} s"
                                                 for kind, seconds in taken.items()), flush=True)
        for service in self.services.values():
            self.assertIsNone(service.process.poll())

    def check_nothing_is_lost(self, database):
        """Each answer is true, and nothing was written twice."""
        self.stop_writers()
        for writer in self.writers.values():
            self.assertIsNone(writer.problem)
        stored = {
            "send": database.rows("SELECT request_id, seq, id FROM messages ORDER BY seq"),
            "task": database.rows("SELECT name, id FROM all_tasks WHERE queue = 'outage'"),
            "user": database.rows("SELECT login, id FROM users WHERE login <> 'owner'"),
        }
        self.assertEqual([row[1] for row in stored["send"]],
                         list(range(1, len(stored["send"]) + 1)), "a gap")
        for kind, rows in stored.items():
            found = {row[0]: row[1:] if kind == "send" else row[1] for row in rows}
            self.assertEqual(len(found), len(rows), f"{kind}: written twice")
            self.assertEqual(found, self.writers[kind].answered, f"{kind}: lost, or made up")
        print("; ".join(f"{kind}: {len(writer.answered)} answered, repeated after"
                        f" {dict(writer.refused)}" for kind, writer in self.writers.items()), flush=True)
