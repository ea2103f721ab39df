"""A primary is lost and its synchronous standby takes over: the services go along, and lose nothing."""

import time
import unittest

import harness
from cluster import Cluster, either
from database import Database
from outage import OutageCase
from watch import Watch

SETTINGS = ("max_connections = 100", "shared_buffers = 32MB")


class FailoverTest(OutageCase):
    @classmethod
    def new_database(cls):
        cls.primary = Cluster(*SETTINGS)
        cls.addClassCleanup(cls.primary.remove)
        database = Database("failover", cluster_url=cls.primary.url)
        cls.standby = Cluster(*SETTINGS, origin=cls.primary)
        cls.addClassCleanup(cls.standby.remove)
        # From now on a commit is not answered before the standby has it.
        database.administer("ALTER SYSTEM SET synchronous_standby_names = '*'")
        database.administer("SELECT pg_reload_conf()")
        harness.poll("the standby to be synchronous", lambda: database.administer(
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))
        return database

    def listeners(self):
        return self.database.administer(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.database.name}'"
            " AND query LIKE 'LISTEN %'")

    def test_the_services_follow_the_primary(self):
        self.begin(either(self.database.url, self.primary, self.standby))
        watch = Watch(self.services["messaged"], chat_ids=[self.chat.id])
        self.addCleanup(watch.leave)
        listeners = self.listeners()
        self.assertGreater(listeners, 0)
        harness.poll("some writes", lambda: all(
            len(writer.successes) > 20 for writer in self.writers.values()))

        self.primary.stop("immediate")
        self.are_refused(*self.writers)
        self.have_health("NOT_SERVING")
        # The standby answers, but takes no writes: it is not what the services look for.
        self.are_refused(*self.writers)

        self.standby.promote()
        promoted = time.monotonic()
        self.database.move_to(self.standby.url)
        self.come_back("failover", promoted)
        harness.poll("all to listen again", lambda: self.listeners() == listeners)
        harness.poll("more writes", lambda: all(
            len([at for at in writer.successes if at > promoted]) > 20
            for writer in self.writers.values()))
        self.check_nothing_is_lost(self.database)
        sent = len(self.writers["send"].answered)
        watch.wait_for(sent)
        self.assertEqual([message.seq for _, message in watch.events], list(range(1, sent + 1)))
        self.assertIsNone(watch.error)


class ReadOnlyTest(OutageCase):
    """A primary that is to be left is made read-only first, under the sessions that there are."""

    @classmethod
    def new_database(cls):
        cls.primary = Cluster(*SETTINGS)
        cls.addClassCleanup(cls.primary.remove)
        return Database("readonly", cluster_url=cls.primary.url)

    def set_read_only(self, value):
        self.database.administer(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.database.administer("SELECT pg_reload_conf()")

    def test_sessions_that_became_read_only_are_thrown_away(self):
        self.begin(either(self.database.url, self.primary))
        harness.poll("some writes", lambda: all(
            len(writer.successes) > 5 for writer in self.writers.values()))
        self.set_read_only("on")
        self.addCleanup(self.set_read_only, "off")
        self.are_refused("send", "task", "user")
        self.have_health("NOT_SERVING")
        # Writing is what is asked of them, so nothing is done half: there are no reads either.
        self.are_refused("read")
        self.set_read_only("off")
        self.come_back("read-only", time.monotonic())
        self.check_nothing_is_lost(self.database)


if __name__ == "__main__":
    unittest.main()
