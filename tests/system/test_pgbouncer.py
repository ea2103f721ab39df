"""Behind a pooler: by session all is as ever; by transaction it is, but for hints, and nothing leaks."""

import contextlib
import time
import unittest

import grpc
import psycopg2

import harness
from cluster import Cluster
from database import Database
from outage import OutageCase
from pooler import PgBouncer
from watch import Watch
from worker import Worker, key

# What the services set for themselves, and no other client of the pooler may find set.
SETTINGS = ("statement_timeout", "lock_timeout", "plan_cache_mode", "enable_seqscan", "jit",
            "synchronous_commit", "idle_in_transaction_session_timeout")


class PoolerCase(OutageCase):
    mode = None
    size = None

    @classmethod
    def setUpClass(cls):
        if cls.mode is None:
            raise unittest.SkipTest("what the modes share")
        super().setUpClass()

    @classmethod
    def new_database(cls):
        cls.cluster = Cluster("max_connections = 120", "shared_buffers = 32MB")
        cls.addClassCleanup(cls.cluster.remove)
        database = Database("pooler", cluster_url=cls.cluster.url)
        cls.pooler = PgBouncer(database.url, cls.mode, cls.size)
        cls.addClassCleanup(cls.pooler.close)
        return database

    def begin_behind_it(self):
        self.begin(self.pooler.url, "--pooler", self.mode)
        self.others = {name: self.start(name, "--pooler", self.mode, url=self.pooler.url)
                       for name in ("messaged", "schedulerd")}

    def check_calls(self):
        harness.poll("many writes", lambda: all(
            writer.problem or len(writer.successes) > 50 for writer in self.writers.values()))
        self.check_deadlines()
        self.check_hints()
        # A pooler whose server goes away passes that on.
        self.cluster.restart()
        self.come_back(self.mode, time.monotonic())
        self.check_nothing_is_lost(self.database)

    def check_deadlines(self):
        """The database gives up what is late, and has not done it."""
        with self.database.locked("chats", self.chat.id):
            seq = self.writers["send"].answered["send-0"][0]
            with self.assertRaises(grpc.RpcError) as caught:
                self.messages.UpdateMessage(
                    timeout=1, message={"chat_id": self.chat.id, "seq": seq, "text": "late"},
                    user_id=self.owner.id)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            # The lanes try again all the time; nobody else still waits.
            harness.poll("the statement to be given up", lambda: not self.database.value(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
                " AND now() - query_start > interval '1 s'", self.database.name))
        self.assertEqual(self.messages.GetMessage(chat_id=self.chat.id, seq=seq).text, "send-0")

    def check_hints(self):
        """What one process has written another one shows, at the latest when it looks."""
        watch = Watch(self.others["messaged"], chat_ids=[self.chat.id])
        watch.wait_for(5)
        watch.leave()
        worker = Worker(self.others["schedulerd"], ["hints"], credit=1)
        task = self.tasks.CreateTask(queue="hints", name="task")
        lease, = worker.wait_for("leases")
        worker.tell(acks=[key(lease)])
        self.assertEqual(worker.wait_for("settled_task_ids"), [task.id])
        self.assertIsNone(worker.leave())

    def listeners(self):
        return self.database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
                                   " AND query LIKE 'LISTEN %%'", self.database.name)


class SessionModeTest(PoolerCase):
    mode, size = "session", 100

    def test_all_is_as_ever(self):
        self.begin_behind_it()
        self.assertGreater(self.listeners(), 0)
        self.check_calls()


class TransactionModeTest(PoolerCase):
    """Some sixty connections of the services share four of the server's."""

    mode, size = "transaction", 4

    def test_nothing_is_lost_and_nothing_leaks(self):
        self.begin_behind_it()
        self.check_calls()
        self.assertEqual(self.listeners(), 0)
        self.assertLessEqual(self.database.connections(), self.size)
        self.check_nothing_leaks()

    def check_nothing_leaks(self):
        wanted = self.database.rows(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name", list(SETTINGS))
        sessions = {}
        with contextlib.ExitStack() as clients:
            for _ in range(self.size):  # each holds one of the server's sessions
                client = clients.enter_context(contextlib.closing(psycopg2.connect(self.pooler.url)))
                cursor = client.cursor()
                cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
                               (list(SETTINGS),))
                found = cursor.fetchall()
                cursor.execute("SELECT count(*) FROM pg_prepared_statements")
                self.assertEqual(cursor.fetchone(), (0,))
                cursor.execute("SELECT pg_backend_pid()")
                sessions[cursor.fetchone()[0]] = found
        self.assertEqual(list(sessions.values()), [wanted] * self.size)


if __name__ == "__main__":
    unittest.main()
