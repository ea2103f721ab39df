"""WaitTask: callers who wait for tasks to end, and what they cost."""

import pathlib
import signal
import unittest

import grpc

import harness
from proxy import Proxy

PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED, EXPIRED = range(1, 7)
LONG = {"seconds": 55}
MOST = 5000


class WaitCase(harness.SystemTest):
    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def create(self, **fields):
        return self.tasks.CreateTask(**{"queue": self.queue, "name": "task"} | fields)

    def lease(self, **fields):
        lease, = self.workers.LeaseTasks(**{"queues": [self.queue]} | fields).leases
        return {"task_id": lease.task.id, "lease_token": lease.lease_token}

    def wait(self, task, service=None, **fields):
        fields = {"task_id": task.id, "wait_for": LONG} | fields
        return (service or self.schedulerd).tasks.begin("WaitTask", **fields)


class WaitTaskTest(WaitCase):
    runs = ("schedulerd",)
    counts = False

    def test_it_is_answered_with_the_result_however_many_wait(self):
        task = self.create()
        key = self.lease()
        waits = [self.wait(task) for _ in range(20)]
        done = self.workers.AckTask(**key, result=b"\0" * (256 << 10))
        for wait in waits:
            self.assertEqual(wait.result(), done)

    def test_every_end_ends_the_wait(self):
        def cancel(task):
            self.tasks.CancelTask(task_id=task.id)

        def fail(_):
            self.workers.FailTask(**self.lease(), error="no", for_good=True)

        def cancel_and_release(task):
            key = self.lease()
            self.tasks.CancelTask(task_id=task.id)
            self.workers.ReleaseTask(**key)

        def lose(_):
            self.lease(lease_duration={"seconds": 1})

        def expire(task):
            self.database.rows("UPDATE tasks SET expires_at = now() WHERE id = %s", task.id)

        for end, state in ((cancel, CANCELLED), (fail, DEAD), (cancel_and_release, CANCELLED),
                           (lose, DEAD), (expire, EXPIRED)):
            with self.subTest(end=end.__name__):
                task = self.create(max_attempts=1)
                wait = self.wait(task)
                end(task)
                self.assertEqual(wait.result().state, state)
                # Who comes later finds it so.
                self.assertEqual(self.tasks.WaitTask(task_id=task.id).state, state)

    def test_an_attempt_that_fails_is_not_the_end(self):
        task = self.create()
        wait = self.wait(task)
        self.workers.FailTask(**self.lease(), error="once")
        self.assertFalse(wait.done())
        self.tasks.RunTaskNow(task_id=task.id)
        done = self.workers.AckTask(**self.lease())
        self.assertEqual(wait.result(), done)
        self.assertEqual([error.text for error in done.errors], ["once"])

    def test_when_the_wait_is_over_the_task_is_shown_as_it_is(self):
        task = self.create()
        for wait_for in ({}, {"nanos": 200_000_000}):
            self.assertEqual(self.tasks.WaitTask(task_id=task.id, wait_for=wait_for), task)
        self.lease()
        self.assertEqual(self.tasks.WaitTask(task_id=task.id, wait_for={}).state, RUNNING)
        # The call's own deadline is the end of it too.
        self.assertEqual(self.tasks.WaitTask(task_id=task.id, timeout=0.7).state, RUNNING)

    def test_unknown_tasks_and_bad_input_are_refused_at_once(self):
        with self.assert_error("NOT_FOUND", "TASK_NOT_FOUND"):
            self.tasks.WaitTask(task_id=999_999_999)
        for fields in ({"wait_for": {"seconds": 61}}, {"wait_for": {"seconds": -1}},
                       {"wait_for": {"seconds": 1, "nanos": -1}}):
            with self.assert_error("INVALID_ARGUMENT", field="wait_for"):
                self.tasks.WaitTask(task_id=1, **fields)
        with self.assert_error("INVALID_ARGUMENT", field="task_id"):
            self.tasks.WaitTask(wait_for=LONG)

    def test_a_task_that_another_process_ends(self):
        other = self.start("schedulerd")
        tasks = [self.create() for _ in range(30)]
        waits = [self.wait(task, other) for task in tasks]
        keys = [self.lease() for _ in tasks]
        for key in keys:
            self.workers.AckTask(**key, result=str(key["task_id"]).encode())
        for task, wait in zip(tasks, waits):
            self.assertEqual((wait.result().id, wait.result().result),
                             (task.id, str(task.id).encode()))

    def test_many_tasks_that_end_at_once(self):
        results = self.tasks.BatchCreateTasks(
            requests=[{"queue": self.queue, "name": "task"}] * 300).results
        waits = {result.task_id: self.tasks.begin("WaitTask", task_id=result.task_id, wait_for=LONG)
                 for result in results}
        self.database.rows("DELETE FROM tasks WHERE id %% 2 = 0 AND queue = %s", self.queue)
        leases = [lease for _ in range(2) for lease in self.workers.LeaseTasks(
            queues=[self.queue], max_tasks=100).leases]
        harness.in_threads(8, lambda number: [self.workers.AckTask(
            task_id=lease.task.id, lease_token=lease.lease_token)
                                              for lease in leases[number::8]])
        for task_id, wait in waits.items():
            if task_id % 2:
                self.assertEqual(wait.result().state, SUCCEEDED)
            else:
                self.assertEqual(wait.code().name, "NOT_FOUND")


class WaitersTest(WaitCase):
    def setUp(self):
        super().setUp()
        self.schedulerd = self.start("schedulerd")
        self.tasks, self.workers = self.schedulerd.tasks, self.schedulerd.workers

    def threads(self):
        return len(list(pathlib.Path(f"/proc/{self.schedulerd.process.pid}/task").iterdir()))

    def test_there_is_a_limit_and_no_thread_or_connection_for_each(self):
        task = self.create()
        self.wait(task, wait_for={"nanos": 1}).result()
        threads, connections = self.threads(), self.database.connections()
        # A connection has room for a thousand.
        channels = [self.schedulerd.new_channel() for _ in range(MOST // 1000 + 1)]
        callers = [harness.Client(channel, *harness.CLIENTS["schedulerd"]["tasks"])
                   for channel in channels]
        waits = [callers[number % len(callers)].begin("WaitTask", task_id=task.id, wait_for=LONG)
                 for number in range(MOST + 10)]
        refused = harness.poll("ten too many", lambda: [wait for wait in waits if wait.done()][9:]
                               and [wait for wait in waits if wait.done()])
        self.assertEqual(len(refused), 10)
        for wait in refused:
            failure = harness.Failure().read(wait.exception())
            self.check_failure(failure, "RESOURCE_EXHAUSTED", "QUEUE_FULL")
            self.assertGreater(failure.retry_delay, 0)
        # A thread or two of gRPC's may come and go.
        self.assertLess(self.threads(), threads + 20)
        self.assertLessEqual(self.database.connections(), connections + 2)

        # Those who leave make room.
        staying = [wait for wait in waits if not wait.done()]
        for wait in staying[MOST // 2:]:
            wait.cancel()

        def has_room():
            try:
                return self.tasks.WaitTask(task_id=task.id, wait_for={}) == task
            except grpc.RpcError as error:
                self.assertEqual(error.code().name, "RESOURCE_EXHAUSTED")
                return False

        harness.poll("room", has_room)
        self.workers.AckTask(**self.lease())
        for wait in staying[:MOST // 2]:
            self.assertEqual(wait.result().state, SUCCEEDED)
        for channel in channels:
            channel.close()

    def test_a_server_that_goes_down_shows_tasks_as_they_are(self):
        tasks = [self.create(delay={"seconds": 60}) for _ in range(10)]
        waits = []
        for task in tasks:
            waits.append(self.wait(task))
            # It waits once one that came after it has been answered.
            self.tasks.WaitTask(task_id=task.id, wait_for={})
        self.schedulerd.signal(signal.SIGTERM)
        for task, wait in zip(tasks, waits):
            self.assertEqual(wait.result(), task)
        self.schedulerd.close()
        self.assertEqual(self.schedulerd.wait(), 0)


class OutageTest(WaitCase):
    def test_an_outage_is_waited_out(self):
        road = Proxy(self.database.url)
        cut_off, other = self.start("schedulerd", url=road.url), self.start("schedulerd")
        self.tasks, self.workers = other.tasks, other.workers
        task = self.create()
        wait = self.wait(task, cut_off)
        self.assertEqual(cut_off.tasks.WaitTask(task_id=task.id, wait_for={}), task)
        road.cut()
        with self.assert_error("UNAVAILABLE", "DATABASE_UNAVAILABLE"):
            cut_off.tasks.WaitTask(task_id=task.id, wait_for={"nanos": 300_000_000})
        self.assertFalse(wait.done())
        done = self.workers.AckTask(**self.lease())
        road.open()
        self.assertEqual(wait.result(), done)


if __name__ == "__main__":
    unittest.main()
