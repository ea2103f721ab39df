"""Schedules: what is said of them, and what is done to them by hand."""

import time
import unittest

import harness
from schedules import (
    ScheduleCase, RUNNING, SKIP, ALLOW, UNIQUE, SHIFTED, AMBIGUOUS, EVERY_SECOND, HOURLY, UTC,
    timestamp)


class CallsTest(ScheduleCase):
    def test_a_schedule_is_read_back_as_it_was_created(self):
        wanted = {
            "name": "nightly", "misfire_policy": "MISFIRE_POLICY_ALL", "misfire_limit": 7,
            "catch_up_window": {"seconds": 5}, "overlap_policy": "OVERLAP_POLICY_ALLOW",
            "jitter": {"seconds": 60},
            "spec": {"cron": "30 2 * * MON-FRI", "time_zone": "Europe/Berlin",
                     "start_time": timestamp("2030-01-01T00:00:00+00:00"),
                     "end_time": timestamp("2031-01-01T00:00:00+00:00")},
            "task": {"queue": "q", "name": "n", "payload": b"\0\xff", "headers": {"a": "b"},
                     "priority": 3, "max_attempts": 4, "expire_after": {"seconds": 9},
                     "retry_policy": {"jitter": 0.5}, "run_timeout": {"seconds": 8},
                     "concurrency_key": "k"}}
        created = self.create(**wanted)
        self.assertEqual(self.get(created), created)
        self.assertEqual(self.schedules.GetSchedule(name="nightly"), created)
        self.assertEqual(created.next_fire_time.ToJsonString(), "2030-01-01T01:30:00Z")
        self.assertFalse(created.HasField("pause_time"))
        for field in (created.spec, created.task):
            self.assertEqual(field, type(field)(**wanted["spec" if field is created.spec else "task"]))
        for name in ("misfire_limit", "name"):
            self.assertEqual(getattr(created, name), wanted[name])

    def test_what_is_not_said_has_its_default(self):
        created = self.create(spec={"cron": "@daily"})
        self.assertEqual((created.misfire_policy, created.misfire_limit, created.overlap_policy,
                          created.catch_up_window.seconds, created.jitter.seconds,
                          created.spec.time_zone), (2, 100, SKIP, 86400, 0, "UTC"))

    def test_every_field_that_is_wrong_is_named(self):
        with self.assert_error("INVALID_ARGUMENT", field="schedule.spec.cron") as failure:
            self.schedules.CreateSchedule(request_id="two words", schedule={
                "spec": {"cron": "61 * * * *", "time_zone": "Mars/Phobos"},
                "task": {"queue": "parley.x", "payload": b"x" * (1024 * 1024 + 1)},
                "misfire_limit": 1001, "jitter": {"seconds": -1}})
        for field in ("schedule.spec.time_zone", "schedule.task.queue", "schedule.task.name",
                      "schedule.task.payload", "schedule.misfire_limit", "schedule.jitter",
                      "request_id"):
            self.assertTrue(failure.names(field), field)
        self.assertIn('"61" (minute)', str(failure.trailer))
        for call, fields in (("GetSchedule", {}), ("GetSchedule", {"name": ""}),
                             ("UpdateSchedule", {"schedule": {"name": "x"}}),
                             ("DeleteSchedule", {}), ("PauseSchedule", {}), ("ResumeSchedule", {}),
                             ("TriggerSchedule", {}), ("BackfillSchedule", {}),
                             ("PreviewSchedule", {}), ("ListSchedules", {"limit": -1}),
                             ("ListSchedules", {"offset": 1, "page_token": "x"}),
                             ("PauseSchedule", {"schedule_id": 1, "note": "x" * 257}),
                             ("PreviewSchedule", {"spec": {"cron": "nonsense"}}),
                             ("PreviewSchedule", {"schedule_id": 1, "limit": -1})):
            with self.subTest(call, **fields), self.assert_error("INVALID_ARGUMENT"):
                getattr(self.schedules, call)(**fields)

    def test_a_request_id_creates_one_schedule(self):
        request = {"schedule": self.fields(), "request_id": self.queue}
        created = harness.in_threads(
            8, lambda _: self.schedules.CreateSchedule(**request).id)
        self.assertEqual(len(set(created)), 1)
        with self.assert_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            self.schedules.CreateSchedule(schedule=self.fields(misfire_limit=3),
                                          request_id=self.queue)

    def test_an_update_changes_what_it_names_and_minds_the_etag(self):
        before = self.create(jitter={"seconds": 1})
        after = self.schedules.UpdateSchedule(
            schedule={"id": before.id, "etag": before.etag, "misfire_limit": 9,
                      "jitter": {"seconds": 5}}, update_mask={"paths": ["misfire_limit"]})
        self.assertEqual((after.misfire_limit, after.jitter.seconds), (9, 1))
        self.assertNotEqual(after.etag, before.etag)
        with self.assert_error("ABORTED", "ETAG_MISMATCH"):
            self.schedules.UpdateSchedule(
                schedule={"id": before.id, "etag": before.etag, "misfire_limit": 8})
        self.assertEqual(self.schedules.UpdateSchedule(
            schedule={"id": before.id, "misfire_limit": 9}), after)
        with self.assert_error("INVALID_ARGUMENT", field="update_mask"):
            self.schedules.UpdateSchedule(schedule={"id": before.id},
                                          update_mask={"paths": ["counters"]})
        self.create(name="taken")
        with self.assert_error("ALREADY_EXISTS", "SCHEDULE_NAME_TAKEN"):
            self.schedules.UpdateSchedule(schedule={"id": before.id, "name": "taken"})

    def test_lists_page_through_all_of_a_queue(self):
        ids = [self.create().id for _ in range(7)]
        pages = self.all_pages(self.schedules.ListSchedules, "schedules", queue=self.queue, limit=3)
        self.assertEqual([len(page) for page in pages], [3, 3, 1])
        self.assertEqual([schedule.id for page in pages for schedule in page], ids[::-1])
        second = self.schedules.ListSchedules(queue=self.queue, offset=5).schedules
        self.assertEqual([schedule.id for schedule in second], ids[1::-1])

    def test_what_is_deleted_is_gone_and_its_tasks_are_not(self):
        schedule = self.schedules.CreateSchedule(schedule=self.fields())
        task = self.schedules.TriggerSchedule(schedule_id=schedule.id)
        self.schedules.DeleteSchedule(schedule_id=schedule.id)
        self.assertEqual(self.lease().task.id, task.id)
        for call in ("GetSchedule", "DeleteSchedule", "PauseSchedule", "ResumeSchedule",
                     "TriggerSchedule", "PreviewSchedule"):
            with self.subTest(call), self.assert_error("NOT_FOUND", "SCHEDULE_NOT_FOUND"):
                getattr(self.schedules, call)(schedule_id=schedule.id)


class PreviewTest(ScheduleCase):
    def preview(self, spec, after, limit=3):
        return [(time.local_time, time.resolution) for time in self.schedules.PreviewSchedule(
            spec=spec, after_time=timestamp(after), limit=limit).fire_times]

    def test_a_preview_says_how_changes_of_offset_were_taken(self):
        berlin = "Europe/Berlin"
        self.assertEqual(
            self.preview({"cron": "30 2 * * *", "time_zone": berlin}, "2026-03-28T00:00:00+00:00"),
            [("2026-03-28T02:30:00+01:00", UNIQUE), ("2026-03-29T03:30:00+02:00", SHIFTED),
             ("2026-03-30T02:30:00+02:00", UNIQUE)])
        self.assertEqual(
            self.preview({"cron": "30 2 * * *", "time_zone": berlin}, "2026-10-25T00:00:00+00:00"),
            [("2026-10-25T02:30:00+02:00", AMBIGUOUS), ("2026-10-26T02:30:00+01:00", UNIQUE),
             ("2026-10-27T02:30:00+01:00", UNIQUE)])
        self.assertEqual(
            self.preview({"cron": "@hourly", "time_zone": berlin}, "2026-10-25T00:00:00+00:00"),
            [("2026-10-25T02:00:00+01:00", AMBIGUOUS), ("2026-10-25T03:00:00+01:00", UNIQUE),
             ("2026-10-25T04:00:00+01:00", UNIQUE)])

    def test_a_preview_ends_with_the_schedule(self):
        spec = HOURLY | {"end_time": timestamp("2026-01-01T02:00:00+00:00")}
        self.assertEqual(len(self.preview(spec, "2025-12-31T23:30:00+00:00", limit=1000)), 2)

    def test_a_schedule_is_previewed_as_it_will_fire(self):
        schedule = self.create(spec={"cron": "*/20 * * * *", "time_zone": "Asia/Kathmandu"})
        times = self.schedules.PreviewSchedule(schedule_id=schedule.id).fire_times
        self.assertEqual(len(times), 10)
        self.assertEqual(times[0].fire_time, schedule.next_fire_time)
        self.assertEqual({time.fire_time.seconds - times[0].fire_time.seconds for time in times},
                         {1200 * i for i in range(10)})


class PauseTest(ScheduleCase):
    def test_a_pause_keeps_it_from_firing_and_says_why(self):
        schedule = self.create(spec=EVERY_SECOND, overlap_policy=ALLOW)
        harness.poll("a firing", lambda: self.firings(schedule))
        paused = self.schedules.PauseSchedule(schedule_id=schedule.id, note="moving house")
        self.assertEqual(paused.pause_note, "moving house")
        self.assertTrue(paused.HasField("pause_time"))
        self.assertFalse(paused.HasField("next_fire_time"))
        fired = len(self.firings(schedule))
        harness.poll("the database's clock to go on", lambda: self.database.value(
            "SELECT now() > considered_until + interval '2 s' FROM schedules WHERE id = %s",
            schedule.id))
        resumed = self.schedules.ResumeSchedule(schedule_id=schedule.id)
        self.assertEqual(len(self.firings(schedule)), fired)
        self.assertGreaterEqual(resumed.counters.missed, 2)
        self.assertFalse(resumed.HasField("pause_time"))
        harness.poll("the next firing", lambda: len(self.firings(schedule)) > fired)
        self.assertEqual(self.schedules.PauseSchedule(schedule_id=schedule.id).pause_note, "")

    def test_a_paused_one_can_be_triggered(self):
        schedule = self.create()
        self.schedules.PauseSchedule(schedule_id=schedule.id)
        first = self.schedules.TriggerSchedule(schedule_id=schedule.id, request_id="a")
        self.assertEqual(self.lease().task.id, first.id)
        again = self.schedules.TriggerSchedule(schedule_id=schedule.id, request_id="a")
        self.assertEqual((again.id, again.state), (first.id, RUNNING))
        second = self.schedules.TriggerSchedule(schedule_id=schedule.id)
        self.assertNotEqual(second.id, first.id)
        after = self.get(schedule)
        self.assertEqual((after.counters.triggered, after.last_task_id), (2, second.id))


class BackfillTest(ScheduleCase):
    def backfill(self, schedule, start, end, **fields):
        return self.schedules.BackfillSchedule(schedule_id=schedule.id, start_time=timestamp(start),
                                               end_time=timestamp(end), **fields)

    def test_the_firings_of_a_past_range_are_made(self):
        schedule = self.create(spec={"cron": "30 2 * * *", "time_zone": "Europe/Berlin"})
        filled = self.backfill(schedule, "2026-03-28T00:00:00+00:00", "2026-03-31T00:30:00+00:00",
                               request_id="r")
        self.assertEqual(filled.firing_count, 3)
        times = [self.lease().task.fire_time.ToJsonString() for _ in range(3)]
        self.assertEqual(times, ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z",
                                 "2026-03-30T00:30:00Z"])
        self.assertEqual(self.backfill(
            schedule, "2026-03-28T00:00:00+00:00", "2026-03-31T00:30:00+00:00", request_id="r"),
            filled)
        self.assertEqual(len(self.firings(schedule)), 3)
        with self.assert_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            self.backfill(schedule, "2026-03-28T00:00:00+00:00", "2026-03-29T00:00:00+00:00",
                          request_id="r")

    def test_a_range_that_is_too_large_or_not_over_makes_nothing(self):
        schedule = self.create()
        for end, limit, field in (("2026-01-05T05:00:01+00:00", 101, "limit"),
                                  ("2026-01-05T05:00:01+00:00", 0, "limit"),
                                  ("2100-01-01T00:00:00+00:00", 0, "end_time"),
                                  ("2026-01-01T00:00:00+00:00", 0, "end_time")):
            with self.subTest(end, limit=limit):
                with self.assert_error("INVALID_ARGUMENT", field=field):
                    self.backfill(schedule, "2026-01-01T00:00:00+00:00", end, limit=limit)
        self.assertEqual(self.firings(schedule), [])
        self.assertEqual(self.backfill(schedule, "2026-01-01T00:00:00+00:00",
                                       "2026-01-05T05:00:01+00:00", limit=102).firing_count, 102)


if __name__ == "__main__":
    unittest.main()
