"""The firings of schedules, and what becomes of them."""

import datetime
import os
import random
import subprocess
import tempfile
import time
import unittest

import harness
from database import Database, skew
from schedules import (
    ScheduleCase, PENDING, CANCELLED, SKIP, BUFFER_ONE, ALLOW, CANCEL_OTHER, HOUR, EVERY_SECOND,
    UTC)


class FiringTest(ScheduleCase):
    def test_firings_come_one_after_the_other_to_the_worker(self):
        schedule = self.create(spec={"cron": "* * * * * *"})
        previous = None
        for _ in range(3):
            lease = self.lease()
            self.assertEqual(lease.task.schedule_id, schedule.id)
            fire_time = lease.task.fire_time.ToMicroseconds()
            self.assertEqual(fire_time % 1_000_000, 0)
            self.assertEqual(lease.task.run_time.ToMicroseconds() >= fire_time, True)
            self.assertTrue(previous is None or fire_time > previous)
            previous = fire_time
            self.ack(lease)
        after = self.get(schedule)
        self.assertGreaterEqual(after.counters.fired, 3)
        self.assertEqual(after.etag, schedule.etag)

    def test_another_spec_is_followed_at_once(self):
        schedule = self.create()
        self.assertGreater(schedule.next_fire_time.seconds, schedule.create_time.seconds)
        self.schedules.UpdateSchedule(schedule={"id": schedule.id, "spec": EVERY_SECOND})
        self.assertEqual(self.lease().task.schedule_id, schedule.id)

    def test_a_schedule_ends(self):
        now = float(self.database.value("SELECT extract(epoch FROM now())"))
        end = int(now) + 3
        schedule = self.create(spec={"cron": "* * * * * *", "end_time": {"seconds": end}},
                               overlap_policy=ALLOW)
        harness.poll("the end", lambda: not self.get(schedule).HasField("next_fire_time"))
        times = [fire for fire, _, _ in self.firings(schedule)]
        self.assertEqual(times[-1], end - 1)
        self.assertEqual(self.get(schedule).counters.fired, len(times))

    def test_jitter_delays_the_task(self):
        schedule = self.create(spec=EVERY_SECOND, overlap_policy=ALLOW, jitter={"seconds": 86400})
        task_id = harness.poll("a firing", lambda: self.get(schedule).last_task_id)
        task = self.tasks.GetTask(task_id=task_id)
        self.assertGreater(task.run_time.seconds, task.fire_time.seconds)
        self.assertLess(task.run_time.seconds, task.fire_time.seconds + 86400)

    def test_many_schedules_fire_at_once(self):
        now = float(self.database.value("SELECT extract(epoch FROM now())"))
        spec = {"interval": {"every": {"seconds": HOUR}, "anchor_time": {"seconds": int(now) + 4}}}
        ids = harness.in_threads(
            10, lambda _: [self.create(spec=spec).id for _ in range(25)])
        ids = [schedule_id for part in ids for schedule_id in part]
        harness.poll("all to fire", lambda: self.database.value(
            "SELECT count(*) FROM all_tasks WHERE queue = %s", self.queue) == len(ids))
        self.assertEqual(self.database.value(
            "SELECT count(DISTINCT schedule_id) FROM all_tasks WHERE queue = %s", self.queue),
            len(ids))


class OverlapTest(ScheduleCase):
    def counters(self, schedule):
        return self.get(schedule).counters

    def test_skip_leaves_firings_out_while_the_task_has_not_ended(self):
        schedule = self.create(spec=EVERY_SECOND)
        lease = self.lease()
        harness.poll("firings to be skipped", lambda: self.counters(schedule).overlapped >= 2)
        self.assertEqual(len(self.firings(schedule)), 1)
        self.ack(lease)
        self.assertGreater(self.lease().task.fire_time.seconds, lease.task.fire_time.seconds + 1)

    def test_buffer_one_lets_one_wait_and_survives_a_crash(self):
        other = self.start("schedulerd")
        schedule = self.create(spec=EVERY_SECOND, overlap_policy=BUFFER_ONE)
        lease = self.lease()
        waiting = harness.poll("a firing to wait", lambda: (
            self.get(schedule).HasField("buffered_fire_time") and self.get(schedule)))
        harness.poll("others to be skipped", lambda: self.counters(schedule).overlapped >= 1)
        self.assertEqual(self.get(schedule).buffered_fire_time, waiting.buffered_fire_time)
        # No more firings: what comes now is the one that waits.
        self.database.rows("UPDATE schedules SET end_at = now(), next_fire_at = NULL WHERE id = %s"
                           " RETURNING id", schedule.id)
        other.kill()
        survivor = self.start("schedulerd")
        self.ack(lease, survivor)
        self.assertEqual(self.lease().task.fire_time, waiting.buffered_fire_time)
        self.assertFalse(self.get(schedule).HasField("buffered_fire_time"))

    def test_allow_lets_all_happen(self):
        schedule = self.create(spec=EVERY_SECOND, overlap_policy=ALLOW)
        self.lease()
        harness.poll("more firings", lambda: len(self.firings(schedule)) >= 3)
        self.assertEqual(self.counters(schedule).overlapped, 0)

    def test_cancel_other_cancels_what_has_not_ended(self):
        schedule = self.create(spec=EVERY_SECOND, overlap_policy=CANCEL_OTHER)
        lease = self.lease()
        key = {"task_id": lease.task.id, "lease_token": lease.lease_token}
        harness.poll("the worker to be told", lambda: self.workers.ExtendLease(
            **key, lease_duration={"seconds": 60}).cancel_requested)
        harness.poll("a pending one to be cancelled", lambda: any(
            task.state == CANCELLED for task in self.tasks.ListTasks(queue=self.queue).tasks))
        self.assertEqual(self.workers.FailTask(**key).state, CANCELLED)
        live = [task for task in self.tasks.ListTasks(queue=self.queue).tasks
                if task.state == PENDING]
        self.assertLessEqual(len(live), 1)


class MisfireTest(ScheduleCase):
    runs = ()

    def test_after_an_outage_every_firing_is_made_or_counted(self):
        first = self.start("schedulerd")
        wanted = {"SKIP": 0, "LATEST": 1, "ALL": 3}
        schedules = {policy: self.create(
            first, misfire_policy="MISFIRE_POLICY_" + policy, misfire_limit=3,
            overlap_policy=ALLOW) for policy in wanted}
        narrow = self.create(first, catch_up_window={"seconds": 1700})
        first.kill()
        for schedule in (*schedules.values(), narrow):
            self.lie_down(schedule, 6)
        second = self.start("schedulerd")
        for policy, count in wanted.items():
            with self.subTest(policy):
                after = harness.poll("it to be dealt with", lambda: (
                    self.get(schedules[policy], second).counters.missed
                    and self.get(schedules[policy], second)))
                self.assertEqual((after.counters.fired, after.counters.missed), (count, 6 - count))
                times = [fire for fire, _, _ in self.firings(after)]
                latest = after.next_fire_time.ToMicroseconds() / 1e6 - HOUR
                self.assertEqual(times, [latest - HOUR * i for i in range(count)][::-1])
        self.assertEqual(harness.poll("it to be dealt with", lambda: self.get(
            narrow, second).counters.missed), 6)


class ManyServersTest(ScheduleCase):
    runs = ()

    def check_every_second_once(self, schedule):
        times = [fire for fire, _, _ in self.firings(schedule)]
        self.assertEqual(times, [times[0] + i for i in range(len(times))])
        return times

    def test_each_firing_makes_one_task_whatever_servers_are_killed(self):
        servers = [self.start("schedulerd") for _ in range(3)]
        schedule = self.create(servers[0], spec={"cron": "* * * * * *"}, overlap_policy=ALLOW,
                               misfire_policy="MISFIRE_POLICY_ALL", misfire_limit=1000)
        draw = random.Random(1)
        while len(self.firings(schedule)) < 12:
            victim = draw.randrange(len(servers))
            before = len(self.firings(schedule))
            servers[victim].kill()
            harness.poll("the others to go on", lambda: len(self.firings(schedule)) > before)
            servers[victim] = self.start("schedulerd")
        for server in servers:
            server.stop()
        times = self.check_every_second_once(schedule)
        fired, missed, last = self.database.rows(
            "SELECT fired, missed, extract(epoch FROM last_fire_at) FROM schedules WHERE id = %s",
            schedule.id)[0]
        self.assertEqual((fired, missed, float(last)), (len(times), 0, times[-1]))

    def test_the_databases_clock_decides(self):
        # now() of the database is another than that of the servers, as if one of the hosts were wrong.
        for hours in (1, -1):
            with self.subTest(hours=hours):
                database = Database("schedules")
                self.addCleanup(database.drop)
                skew(database, hours)
                server = self.start("schedulerd", url=database.url)
                schedule = server.schedules.CreateSchedule(schedule=self.fields(
                    spec={"cron": "* * * * * *"}, overlap_policy=ALLOW))
                harness.poll("firings", lambda: database.rows(
                    "SELECT 1 FROM all_tasks WHERE schedule_id = %s OFFSET 3", schedule.id))
                # created_at is not skewed, and of the clock that the firing itself went by: a statement
                # of ours may see a firing that was committed after its own now().
                for fire, created in database.rows(
                        "SELECT extract(epoch FROM fire_at)::float, extract(epoch FROM created_at)"
                        "::float FROM all_tasks WHERE schedule_id = %s", schedule.id):
                    self.assertLess(abs(time.time() - created), HOUR / 4)
                    self.assertLessEqual(fire, created + hours * HOUR)
                    self.assertLess(created + hours * HOUR - fire, HOUR / 2)
                leases = server.workers.LeaseTasks(
                    queues=[self.queue], max_tasks=10, wait_for={"seconds": 30}).leases
                self.assertGreaterEqual(len(leases), 4)
                self.assertEqual(server.schedules.GetSchedule(
                    schedule_id=schedule.id).counters.missed, 0)


class ZoneTest(ScheduleCase):
    """Zone data that changes between two lives of a server."""

    runs = ()

    def zone_directory(self, offset):
        directory = tempfile.mkdtemp(prefix="parley-zones-")
        self.addCleanup(subprocess.run, ["rm", "-r", directory], check=True)
        source = os.path.join(directory, "source")
        with open(source, "w", encoding="ascii") as file:
            file.write(f"Zone Test/Moving {offset}:00 - TST\nZone UTC 0 - UTC\n")
        subprocess.run(["/usr/sbin/zic", "-d", directory, source], check=True)
        return {"TZDIR": directory}

    def test_what_waits_for_a_local_time_follows_the_zone(self):
        before, after = self.zone_directory(1), self.zone_directory(2)
        server = self.start("schedulerd", env=before)
        now = float(self.database.value("SELECT extract(epoch FROM now())"))

        def task(ahead, **fields):
            clock = datetime.datetime.fromtimestamp(now + ahead + HOUR, UTC).replace(tzinfo=None)
            return server.tasks.CreateTask(
                queue=self.queue, name="x", local_time={
                    "date_time": clock.isoformat(), "time_zone": "Test/Moving"} | fields)

        far, near = task(5 * HOUR), task(HOUR / 2)
        rejecting = task(5 * HOUR, gap_policy="GAP_POLICY_REJECT")
        other = server.tasks.CreateTask(queue=self.queue, name="x", local_time={
            "date_time": "2090-01-01T00:00:00", "time_zone": "UTC"})
        # Fires three hours from now at the earliest, so that no firing falls into the test.
        hour = (datetime.datetime.fromtimestamp(now, UTC).hour + 5) % 24
        schedule = self.create(server, spec={"cron": f"30 {hour} * * *",
                                             "time_zone": "Test/Moving"})
        server.stop()

        same = self.start("schedulerd", env=before)
        harness.poll("it to fire", lambda: self.create(same, spec=EVERY_SECOND) and True)
        self.assertEqual(same.tasks.GetTask(task_id=far.id), far)
        self.assertEqual(self.get(schedule, same), schedule)
        same.stop()

        moved = self.start("schedulerd", env=after)
        harness.poll("the task to move", lambda: moved.tasks.GetTask(
            task_id=far.id).run_time.ToMicroseconds() != far.run_time.ToMicroseconds())
        for old in (far, rejecting):
            new = moved.tasks.GetTask(task_id=old.id)
            self.assertEqual(new.run_time.ToMicroseconds(),
                             old.run_time.ToMicroseconds() - HOUR * 1_000_000)
            self.assertEqual(new.local_time, old.local_time)
        self.assertEqual(moved.tasks.GetTask(task_id=other.id), other)
        # What should have happened by now happens at once.
        leases = moved.workers.LeaseTasks(queues=[self.queue], max_tasks=10,
                                          wait_for={"seconds": 30}).leases
        self.assertIn(near.id, [lease.task.id for lease in leases])
        harness.poll("the schedule to move", lambda: self.get(
            schedule, moved).next_fire_time.seconds == schedule.next_fire_time.seconds - HOUR)

    def test_schedules_do_not_wait_until_all_have_followed_the_zone(self):
        before, after = self.zone_directory(1), self.zone_directory(2)
        server = self.start("schedulerd", env=before)
        task = server.tasks.CreateTask(queue=self.queue, name="x", local_time={
            "date_time": "2090-01-01T00:00:00", "time_zone": "Test/Moving"})
        schedule = self.create(server, spec=EVERY_SECOND, overlap_policy=ALLOW)
        server.stop()
        with self.database.locked("tasks", task.id):
            fired = len(self.firings(schedule))
            moved = self.start("schedulerd", env=after)
            harness.poll("it to be looked at", self.database.blocked_statements)
            harness.poll("firings", lambda: len(self.firings(schedule)) > fired + 3)
        harness.poll("the task to move", lambda: moved.tasks.GetTask(
            task_id=task.id).run_time.seconds == task.run_time.seconds - HOUR)


if __name__ == "__main__":
    unittest.main()
