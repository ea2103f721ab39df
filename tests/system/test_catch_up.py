"""Schedules that have much to do, or cannot do it, keep no others from firing."""

import contextlib
import unittest

import harness
from schedules import ScheduleCase, ALLOW, EVERY_SECOND

EVERY_FIRING = {"misfire_policy": "MISFIRE_POLICY_ALL", "misfire_limit": 1000,
                "overlap_policy": ALLOW}
# Each task of "slow" takes 10 ms to write, as on a disk that is busy: a thousand take longer than a
# transaction of the servers may.
SLOW_DISK = """
    CREATE FUNCTION write_slowly() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
    CREATE TRIGGER write_slowly BEFORE INSERT ON tasks FOR EACH ROW WHEN (NEW.name = 'slow')
      EXECUTE FUNCTION write_slowly()"""
BROKEN = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE 'no'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR EACH ROW WHEN (NEW.name = 'broken')
      EXECUTE FUNCTION refuse()"""


class CatchUpTest(ScheduleCase):
    runs = ()

    def fired(self, schedule):
        return self.database.value("SELECT fired FROM schedules WHERE id = %s", schedule.id)

    def test_a_catch_up_keeps_no_other_from_firing_whatever_servers_are_killed(self):
        self.database.script(SLOW_DISK)
        servers = [self.start("schedulerd") for _ in range(2)]
        slow = self.create(servers[0], spec={"interval": {"every": {"seconds": 60}}},
                           task={"name": "slow", "payload": b"x" * (256 * 1024)}, **EVERY_FIRING)
        other = self.create(servers[0], spec=EVERY_SECOND, **EVERY_FIRING)
        # A thousand firings were missed, the last one half a minute ago; it fires no more.
        self.database.rows(
            "UPDATE schedules SET anchor_at = now() - interval '1 min' * 2000 - interval '30 s',"
            "   considered_until = now() - interval '1 min' * 1000,"
            "   next_fire_at = now() - interval '1 min' * 1000 + interval '1 us', end_at = now()"
            " WHERE id = %s RETURNING id", slow.id)
        for number in range(len(servers)):
            before = self.fired(slow), self.fired(other)
            harness.poll("both to go on", lambda: (
                self.fired(slow) > before[0] and self.fired(other) > before[1]))
            servers[number].kill()
            servers[number] = self.start("schedulerd")
        harness.poll("all to be made", lambda: self.fired(slow) == 1000)
        for server in servers:
            server.stop()
        self.assertEqual(self.database.rows(
            "SELECT fired, missed, overlapped, next_fire_at FROM schedules WHERE id = %s", slow.id),
            [(1000, 0, 0, None)])
        self.assertEqual(self.database.rows(
            "SELECT count(*), count(DISTINCT fire_at), sum(octet_length(payload)) FROM tasks"
            " WHERE schedule_id = %s", slow.id), [(1000, 1000, 1000 * 256 * 1024)])
        # Ten seconds at least; and the other one missed none of them.
        self.assertGreater(self.database.value(
            "SELECT count(*) FROM tasks WHERE schedule_id = %s AND id BETWEEN"
            " (SELECT min(id) FROM tasks WHERE schedule_id = %s) AND"
            " (SELECT max(id) FROM tasks WHERE schedule_id = %s)", other.id, slow.id, slow.id), 3)
        times = [fire for fire, _, _ in self.firings(other)]
        self.assertEqual(times, [times[0] + i for i in range(len(times))])


class BrokenTest(ScheduleCase):
    def test_one_that_fails_keeps_no_other_from_firing(self):
        self.database.script(BROKEN)
        broken = self.create(spec=EVERY_SECOND, task={"name": "broken"}, **EVERY_FIRING)
        others = [self.create(spec=EVERY_SECOND, **EVERY_FIRING) for _ in range(9)]
        told = harness.poll("it to fail", lambda: [
            line for line in self.schedulerd.log() if line.get("schedule_id") == str(broken.id)])
        self.assertEqual(told[0]["message"], "a schedule cannot fire here")
        before = {other.id: len(self.firings(other)) for other in others}
        harness.poll("the others to go on", lambda: all(
            len(self.firings(other)) > before[other.id] + 2 for other in others))
        self.assertEqual(self.firings(broken), [])
        # Mended. It is tried again when somebody changes a schedule.
        self.database.script("DROP TRIGGER refuse ON tasks")
        self.schedules.UpdateSchedule(schedule={"id": others[0].id, "misfire_limit": 7})
        harness.poll("it to fire", lambda: self.firings(broken))
        self.assertEqual(len([line for line in self.schedulerd.log()
                              if line.get("schedule_id") == str(broken.id)]), 1)

    def test_a_table_that_is_locked_for_a_while_is_no_schedules_fault(self):
        schedule = self.create(spec=EVERY_SECOND, **EVERY_FIRING)
        with contextlib.closing(self.database.connect()) as connection:
            connection.cursor().execute("LOCK TABLE tasks IN SHARE MODE")  # as an index is built
            harness.poll("it to be found out", lambda: [
                line for line in self.schedulerd.log()
                if line["message"] == "schedules wait for the database"])
        seen = self.database.value("SELECT now()").timestamp()
        harness.poll("it to fire again", lambda: any(
            fire > seen for fire, _, _ in self.firings(schedule)))
        self.assertEqual([line for line in self.schedulerd.log()
                          if line.get("schedule_id") == str(schedule.id)], [])


if __name__ == "__main__":
    unittest.main()
