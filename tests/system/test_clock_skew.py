"""The clocks of the services and of the database are an hour apart: the database's decides.

It is PostgreSQL that runs under faketime.
"""

import datetime
import itertools
import time
import unittest

import faketime
import harness
from cluster import Cluster
from database import Database
from schedules import ALLOW, EVERY_SECOND, HOUR, UTC
from worker import Worker, PENDING, SUCCEEDED

EXPIRED = 6
WAIT = {"seconds": 30}  # long for what is due in a second or two, and short against the hour
MICRO = 1_000_000


def seconds(timestamp):
    return timestamp.ToMicroseconds() / MICRO


class SkewCase:
    """The tests; the classes below say by how many hours the database's clock is ahead."""

    _queues = itertools.count()

    @classmethod
    def new_database(cls):
        cls.cluster = Cluster("max_connections = 100", "shared_buffers = 32MB", env=faketime.ENVIRONMENT | {
            "FAKETIME": f"{cls.hours:+}h"})
        cls.addClassCleanup(faketime.sweep)
        cls.addClassCleanup(cls.cluster.remove)
        return Database("skew", cluster_url=cls.cluster.url)

    def setUp(self):
        self.assertLess(abs(self.now() - time.time() - self.hours * HOUR), HOUR / 4)
        self.queue = f"queue-{next(self._queues)}"

    def now(self):
        return float(self.database.value("SELECT extract(epoch FROM clock_timestamp())"))

    def ahead(self, by):
        """A point in time so many seconds ahead by the database's clock."""
        micros = int((self.now() + by) * MICRO)
        return {"seconds": micros // MICRO, "nanos": micros % MICRO * 1000}

    def create(self, **fields):
        return self.tasks.CreateTask(**{"queue": self.queue, "name": "task"} | fields)

    def lease(self, **fields):
        lease, = self.workers.LeaseTasks(
            **{"queues": [self.queue], "wait_for": WAIT} | fields).leases
        return lease

    def ack(self, lease):
        return self.workers.AckTask(task_id=lease.task.id, lease_token=lease.lease_token)

    def check_is_now(self, timestamp):
        self.assertLess(abs(seconds(timestamp) - self.now()), HOUR / 4)

    def handed_out_when_due(self, **when):
        task = self.create(**when)
        lease = self.lease()
        self.assertEqual(lease.task.id, task.id)
        self.assertGreaterEqual(self.now(), seconds(task.run_time))
        self.check_is_now(task.run_time)
        self.ack(lease)
        return task

    def test_delays_and_run_times_are_the_databases(self):
        task = self.handed_out_when_due()
        self.check_is_now(task.create_time)
        task = self.handed_out_when_due(delay={"seconds": 1, "nanos": 500_000_000})
        self.assertEqual(task.run_time.ToMicroseconds() - task.create_time.ToMicroseconds(),
                         1_500_000)
        for by in (1.5, -1):
            self.handed_out_when_due(run_time=self.ahead(by))

    def test_a_local_time_is_the_databases(self):
        clock = datetime.datetime.fromtimestamp(int(self.now()) + 2, UTC).replace(tzinfo=None)
        self.handed_out_when_due(
            local_time={"date_time": clock.isoformat(), "time_zone": "UTC"})

    def test_streams_hand_out_when_due(self):
        worker = Worker(self.schedulerd, [self.queue], credit=10)
        self.addCleanup(worker.call.cancel)
        ids = [self.create().id, self.create(delay={"seconds": 1}).id,
               self.create(run_time=self.ahead(2)).id]
        leases = worker.wait_for("leases", 3)
        self.assertEqual([lease.task.id for lease in leases], ids)
        self.assertGreaterEqual(self.now(), seconds(leases[-1].task.run_time))
        worker.tell(acks=[{"task_id": lease.task.id, "lease_token": lease.lease_token}
                          for lease in leases])
        worker.wait_for("settled_task_ids", 3)
        self.assertIsNone(worker.leave())

    def test_leases_last_as_long_as_they_say(self):
        task = self.create()
        first = self.lease(lease_duration={"seconds": 1})
        self.assertTrue(0 < first.lease_duration.ToMicroseconds() <= MICRO, first.lease_duration)
        self.check_is_now(first.task.lease_until)
        second = self.lease()
        self.assertEqual((second.task.id, second.task.attempt), (task.id, 2))
        self.assertGreaterEqual(self.now(), seconds(first.task.lease_until))
        with self.assert_error("ABORTED", "LEASE_LOST"):
            self.ack(first)
        # The second one, of half a minute, outlasts the first round of what looks for lost ones.
        extended = self.workers.ExtendLease(
            task_id=task.id, lease_token=second.lease_token, lease_duration={"seconds": 60})
        self.assertGreater(seconds(extended.lease_until), seconds(second.task.lease_until))
        self.create()
        third = self.lease(lease_duration={"seconds": 1})
        self.assertEqual(self.lease().task.id, third.task.id)
        self.assertEqual(self.ack(second).state, SUCCEEDED)

    def test_retries_come_after_their_rest(self):
        self.create(retry_policy={"initial_backoff": {"seconds": 1}, "jitter": 0})
        first = self.lease()
        failed = self.workers.FailTask(
            task_id=first.task.id, lease_token=first.lease_token, error="no")
        self.assertEqual(self.lease().task.attempt, 2)
        self.assertGreaterEqual(self.now(), seconds(failed.run_time))

    def test_tasks_expire_when_the_database_says(self):
        lasting = self.create(expire_time=self.ahead(HOUR / 2))
        self.assertEqual(self.lease().task.id, lasting.id)
        task = self.create(expire_time=self.ahead(1.5), delay={"seconds": 1000})
        ended = self.tasks.WaitTask(task_id=task.id, wait_for=WAIT)
        self.assertEqual(ended.state, EXPIRED)
        self.assertGreaterEqual(self.now(), seconds(task.expire_time))

    def test_who_waits_for_a_task_waits_as_long_as_he_says(self):
        task = self.create()
        start = time.monotonic()
        self.assertEqual(
            self.tasks.WaitTask(task_id=task.id, wait_for={"seconds": 1}).state, PENDING)
        self.assertGreaterEqual(time.monotonic() - start, 1)
        waits = self.tasks.begin("WaitTask", task_id=task.id, wait_for=WAIT)
        self.ack(self.lease())
        self.assertEqual(waits.result().state, SUCCEEDED)

    def test_rates_are_counted_by_the_databases_clock(self):
        self.schedulerd.queues.CreateQueue(
            queue={"name": self.queue, "rate_limit": {"rate": 5, "burst": 1}})
        start = self.now()
        for _ in range(4):
            self.create()
        for _ in range(4):
            self.ack(self.lease())
        self.assertGreater(self.now() - start, 0.5)
        # A bucket that some other clock filled, all the time, would look the same.
        filled_at = self.database.value(
            "SELECT extract(epoch FROM tokens_at)::float FROM queues WHERE name = %s", self.queue)
        self.assertLess(abs(filled_at - self.now()), HOUR / 4)

    def test_schedules_fire(self):
        for spec in (EVERY_SECOND, {"cron": "* * * * * *"}):
            with self.subTest(spec=spec):
                first = self.schedules.PreviewSchedule(spec=spec, limit=1).fire_times[0].fire_time
                self.check_is_now(first)
                schedule = self.schedules.CreateSchedule(schedule={
                    "spec": spec, "task": {"queue": self.queue, "name": "fired"},
                    "overlap_policy": ALLOW})
                self.check_is_now(schedule.next_fire_time)
                times = []
                for _ in range(3):
                    lease = self.lease()
                    times.append(seconds(lease.task.fire_time))
                    self.assertGreaterEqual(self.now(), times[-1])
                    self.ack(lease)
                after = self.schedules.PauseSchedule(schedule_id=schedule.id)
                self.assertEqual(times, [seconds(schedule.next_fire_time) + i for i in range(3)])
                self.assertEqual(after.counters.missed, 0)
                for lease in self.workers.LeaseTasks(queues=[self.queue], max_tasks=100).leases:
                    self.ack(lease)


class DatabaseAheadTest(SkewCase, harness.SystemTest):
    runs = ("schedulerd",)
    hours = 1


class DatabaseBehindTest(SkewCase, harness.SystemTest):
    runs = ("schedulerd",)
    hours = -1


if __name__ == "__main__":
    unittest.main()
