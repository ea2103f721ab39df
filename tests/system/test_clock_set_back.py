"""The clock of a service's host is set back while the service runs."""

import datetime
import tempfile
import unittest

import grpc

import faketime
import harness
from schedules import ALLOW, EVERY_SECOND, UTC, ScheduleCase

WAIT = {"seconds": 30}  # long for what is due in a second or two, and short against the hour


class SetBackTest(ScheduleCase):
    """Somebody sets the clock of a service's host back by an hour."""

    runs = ()

    def test_nothing_waits_for_the_hour_to_pass(self):
        with tempfile.NamedTemporaryFile("w", suffix=".clock") as clock:
            def set_clock(offset):
                clock.seek(0)
                clock.truncate()
                clock.write(offset)
                clock.flush()

            set_clock("+0")
            self.addClassCleanup(faketime.sweep)
            server = self.start("schedulerd", env=faketime.ENVIRONMENT | {
                "FAKETIME_TIMESTAMP_FILE": clock.name, "FAKETIME_NO_CACHE": "1"})
            task = server.tasks.CreateTask(queue=self.queue, name="task", delay={"seconds": 3})
            first = server.workers.begin("LeaseTasks", queues=[self.queue], wait_for=WAIT,
                                         lease_duration={"seconds": 2})
            set_clock("-1h")
            harness.poll("the service's clock to be set back", lambda: any(
                line["time"] < (datetime.datetime.now(UTC) - datetime.timedelta(minutes=50))
                .strftime("%Y-%m-%dT%H:%M:%S") for line in self.stirred(server)))
            # What was waited for comes, a lease that runs out is taken back, and schedules fire.
            self.assertEqual([lease.task.id for lease in first.result().leases], [task.id])
            [second] = server.workers.LeaseTasks(queues=[self.queue], wait_for=WAIT).leases
            self.assertEqual((second.task.id, second.task.attempt), (task.id, 2))
            schedule = self.create(server, spec=EVERY_SECOND, overlap_policy=ALLOW)
            harness.poll("firings", lambda: len(self.firings(schedule)) >= 3)

    @staticmethod
    def stirred(server):
        """The log, after a call that is written into it."""
        try:
            server.tasks.GetTask(task_id=999_999_999)
        except grpc.RpcError:
            pass
        return server.log()


if __name__ == "__main__":
    unittest.main()
