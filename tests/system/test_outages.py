"""Whatever happens to PostgreSQL, the services stay up, say so, come back by themselves, and nothing that
was answered is lost. (A connection that is cut in the middle of a commit: test_message_durability.)"""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import psycopg2

import harness
from cluster import Cluster
from database import Database
from outage import LANES, OutageCase

SETTINGS = ("max_connections = 80", "shared_buffers = 32MB")


class OutagesTest(OutageCase):
    @classmethod
    def new_database(cls):
        cls.cluster = Cluster(*SETTINGS)
        cls.addClassCleanup(cls.cluster.remove)
        return Database("outages", cluster_url=cls.cluster.url)

    def test_postgresql_comes_and_goes(self):
        self.begin(self.database.url)
        for fault in (self.stopped, self.restarted, self.backend_killed, self.postmaster_killed,
                      self.connections_exhausted, self.locks_held):
            harness.poll("all to be well", lambda: all(
                w.successes and w.successes[-1] > time.monotonic() - 1 for w in self.writers.values()))
            fault()
        self.check_nothing_is_lost(self.database)

    def stopped(self):
        self.cluster.stop()
        self.are_refused(*LANES)
        self.have_health("NOT_SERVING")
        for service in self.services.values():
            self.assertEqual(service.health_of("live"), "SERVING")
        self.cluster.start()
        self.come_back("stopped", time.monotonic())

    def restarted(self):
        self.cluster.restart()
        self.come_back("restarted", time.monotonic())

    def backend_killed(self):
        """The postmaster takes a backend that was killed for one that has spoilt the shared memory: it
        ends all others, and recovers."""
        victim = self.database.value(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'parley-messaged'"
            " ORDER BY query_start DESC LIMIT 1", self.database.name)
        os.kill(victim, signal.SIGKILL)
        harness.poll("the others to be ended", lambda: not self.answers_from(victim))
        self.come_back("a backend killed", self.when_it_answers())

    def postmaster_killed(self):
        self.cluster.kill_postmaster()
        self.are_refused(*LANES)
        self.have_health("NOT_SERVING")
        harness.poll("the server to start", self.starts)
        self.come_back("the postmaster killed", time.monotonic())

    def connections_exhausted(self):
        with contextlib.closing(psycopg2.connect(self.cluster.url)) as admin:
            admin.autocommit = True
            others = self.take_all_connections(admin.cursor())
            self.are_refused(*LANES)
            self.have_health("NOT_SERVING")
            for other in others:
                other.close()
        self.come_back("connections exhausted", time.monotonic())

    def locks_held(self):
        with contextlib.closing(self.database.connect()) as holder:
            holder.cursor().execute("LOCK TABLE messages, tasks, users IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            harness.poll("all to wait", lambda: all(
                writer.successes[-1] < time.monotonic() - 1 for writer in self.writers.values()))
            harness.poll("calls to be given up", lambda: time.monotonic() - began > 3)
            self.have_health("SERVING")
        self.come_back("locks held", time.monotonic())

    def answers_from(self, pid):
        try:
            return self.database.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid)
        except psycopg2.OperationalError:
            return 0

    def when_it_answers(self):
        def answers():
            try:
                return self.database.value("SELECT true")
            except psycopg2.OperationalError:
                return False
        harness.poll("the server to answer", answers)
        return time.monotonic()

    def starts(self):
        """Not before the last of its children is gone."""
        try:
            self.cluster.start()
        except subprocess.CalledProcessError:
            return False
        return True

    def take_all_connections(self, admin):
        others = []
        quiet = 0
        while quiet < 5:  # a slot may become free, and be taken by a service, after a look
            time.sleep(0.05)
            admin.execute("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                          " WHERE application_name LIKE 'parley-%'")
            ended = admin.fetchone()[0]
            try:
                while True:
                    others.append(psycopg2.connect(self.cluster.url))
                    self.addCleanup(others[-1].close)
            except psycopg2.OperationalError:
                quiet = 0 if ended else quiet + 1
        return others


class DiskFullTest(OutageCase):
    """The database is on a file system of 64 MiB."""

    @classmethod
    def new_database(cls):
        cls.cluster = Cluster(*SETTINGS)
        cls.addClassCleanup(cls.cluster.remove)
        cls.disk = pathlib.Path(tempfile.mkdtemp(prefix="disk-", dir=cls.cluster.directory))
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "parley-test", cls.disk],
                           check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            raise unittest.SkipTest("file systems may not be mounted here") from None
        cls.addClassCleanup(cls.unmount)
        data = cls.disk / "data"
        data.mkdir()
        subprocess.run(["chown", "-R", "--reference", cls.cluster.directory + "/data", cls.disk], check=True)
        database = Database("disk", migrate=False, cluster_url=cls.cluster.url)
        database.administer(f"CREATE TABLESPACE small LOCATION '{data}'")
        database.administer(f"ALTER DATABASE {database.name} SET TABLESPACE small")
        database.migrate("up")
        return database

    @classmethod
    def unmount(cls):
        cls.cluster.stop("immediate")
        subprocess.run(["umount", cls.disk], check=True)

    def fill(self):
        ballast = self.disk / "ballast"
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        return ballast

    def test_a_full_disk_refuses_writes_until_there_is_room(self):
        self.begin(self.database.url)
        for _ in range(2):
            ballast = self.fill()
            self.are_refused("send", "task", "user")
            # What is there can be read, here as well as anywhere: health is about the way to the database.
            self.have_health("SERVING")
            reads = len(self.writers["read"].successes)
            harness.poll("reads to go on", lambda n=reads: len(self.writers["read"].successes) > n)
            ballast.unlink()
            self.come_back("disk full", time.monotonic())
        self.assertFalse(self.writers["read"].refused)
        self.check_nothing_is_lost(self.database)


if __name__ == "__main__":
    unittest.main()
