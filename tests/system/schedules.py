"""What the tests of schedules share."""

import datetime

import harness

PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED = range(1, 6)
SKIP, BUFFER_ONE, ALLOW, CANCEL_OTHER = range(1, 5)
UNIQUE, SHIFTED, AMBIGUOUS = 1, 2, 3
HOUR = 3600
EVERY_SECOND = {"interval": {"every": {"seconds": 1}}}
HOURLY = {"interval": {"every": {"seconds": HOUR}, "anchor_time": {"seconds": 0}}}
UTC = datetime.timezone.utc


def timestamp(text):
    return {"seconds": int(datetime.datetime.fromisoformat(text).timestamp())}


class ScheduleCase(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def fields(self, **fields):
        task = {"queue": self.queue, "name": "work"} | fields.pop("task", {})
        return {"spec": HOURLY, "task": task} | fields

    def create(self, service=None, **fields):
        """A schedule; it is deleted when the test is over, so that it does not fire for ever."""
        schedules = service.schedules if service else self.schedules
        schedule = schedules.CreateSchedule(schedule=self.fields(**fields))
        self.addCleanup(self.database.rows, "DELETE FROM schedules WHERE id = %s RETURNING id",
                        schedule.id)
        return schedule

    def get(self, schedule, service=None):
        return (service or self.schedulerd).schedules.GetSchedule(schedule_id=schedule.id)

    def lease(self, **fields):
        leases = list(self.workers.LeaseTasks(
            **{"queues": [self.queue], "wait_for": {"seconds": 30}} | fields).leases)
        self.assertTrue(leases, "no task came")
        return leases[0]

    def ack(self, lease, service=None):
        return (service or self.schedulerd).workers.AckTask(
            task_id=lease.task.id, lease_token=lease.lease_token)

    def firings(self, schedule):
        """(fire_at, created_at, now) in seconds of all its firings that have got a task."""
        return [tuple(map(float, row)) for row in self.database.rows(
            "SELECT extract(epoch FROM fire_at), extract(epoch FROM created_at),"
            " extract(epoch FROM now()) FROM all_tasks WHERE schedule_id = %s ORDER BY fire_at",
            schedule.id)]

    def lie_down(self, schedule, hours):
        """As if no server had run for so many hours, the last firing having been half an hour ago."""
        self.database.rows(
            "UPDATE schedules SET anchor_at = date_trunc('second', now()) - interval '30 min'"
            "   - interval '30 days', considered_until = now() - interval '1 h' * %s,"
            "   next_fire_at = now() - interval '1 h' * %s + interval '1 us'"
            " WHERE id = %s RETURNING id", hours, hours, schedule.id)
