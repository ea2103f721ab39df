"""What the tests of push targets share."""

import json
import time

import grpc

import harness

PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED, EXPIRED = range(1, 7)


class PushCase(harness.SystemTest):
    """A schedulerd that may push to the targets of `targets()`, and a queue for each test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.schedulerd = cls.start_schedulerd()
        cls.tasks = cls.schedulerd.tasks

    @classmethod
    def targets(cls):
        """The value of PARLEY_TARGETS."""
        raise NotImplementedError

    @classmethod
    def start_schedulerd(cls):
        service = harness.Service("schedulerd", cls.database.url,
                                  env={"PARLEY_TARGETS": cls.targets()})
        cls.addClassCleanup(cls._release, service)
        return service

    def setUp(self):
        self.queue = self._testMethodName[-100:]

    def route(self, target, queue=None, service=None):
        """Gives a queue, this test's, a target."""
        queue = queue or self.queue
        (service or self.schedulerd).queues.UpdateQueue(queue={"name": queue, "target": target})
        self.addCleanup(self.unroute, queue)

    def unroute(self, queue=None):
        self.schedulerd.queues.UpdateQueue(queue={"name": queue or self.queue},
                                           update_mask={"paths": ["target"]})

    def create(self, name, args=None, kwargs=None, **fields):
        if args is not None or kwargs is not None:
            fields["payload"] = json.dumps({"args": args or [], "kwargs": kwargs or {}}).encode()
        fields.setdefault("queue", self.queue)
        return self.tasks.CreateTask(name=name, **fields)

    def get(self, task):
        return self.tasks.GetTask(task_id=task.id)

    def wait_for(self, task, state, seconds=harness.PATIENCE):
        def look():
            now = self.get(task)
            return now if now.state == state else None
        try:
            return harness.poll(f"task {task.id} to be in state {state}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.get(task)}") from None

    def retry_at_once(self, task):
        """Does away with the rest after a failed attempt."""
        def due():
            now = self.get(task)
            if now.state == PENDING and now.attempt > 0:
                try:
                    self.tasks.RunTaskNow(task_id=task.id)
                except grpc.RpcError as error:  # its time has come meanwhile
                    self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
            return now.state != PENDING or now.attempt == 0
        harness.poll("the task to go on", due)

    def time_is_up(self, task):
        """As if the time were over in which Celery should have had a result."""
        # A lease lasts half a minute longer.
        self.database.rows("UPDATE tasks SET lease_until = now() + interval '29 s'"
                           " WHERE id = %s AND state = 'running' RETURNING id", task.id)

    def outages(self, service=None, message="pushing waits for its target", queue=None):
        """What the service has logged of targets that it cannot reach, about this test's queue."""
        return [line for line in (service or self.schedulerd).log()
                if line["message"] == message and line["queue"] == (queue or self.queue)]

    def assert_nowhere(self, *secrets):
        """No log line holds what is a secret."""
        for line in self.schedulerd.lines:
            for secret in secrets:
                self.assertNotIn(secret, line)

    @staticmethod
    def now_ms():
        return time.time() * 1000
