"""A client of the model test of tasks: how it calls and compares, and what it does as a producer."""

import random
import time

import grpc

import harness
import storm
import task_oracle
from task_oracle import DEAD, EXPIRED, PENDING, RUNNING

NO_REST = {"initial_backoff": {}, "jitter": 0.0}
HOUR = {"seconds": 3600}
POLICIES = [f"DEDUPE_POLICY_{policy}" for policy in ("REJECT", "REPLACE", "KEEP")]


class Lost(Exception):
    """A server was killed, or has hung up, before it answered; nobody knows what it did."""


class Producer:
    """One thread with a queue of its own."""

    def __init__(self, test, number, seed):
        self.test, self.random = test, random.Random(f"{seed} {number}")
        self.queue = task_oracle.QueueModel(f"model-{number}")
        self.calls = self.lost = 0
        self.doubt = {}  # by task id: the states to which the call under way may bring it
        self.names = 0

    def chance(self, probability):
        return self.random.random() < probability

    def server(self):
        return self.random.choice(self.test.servers.running)

    def some_task(self, *states):
        tasks = self.queue.in_state(*states) if states else list(self.queue.tasks.values())
        return self.random.choice(tasks) if tasks else None

    # ---- Calling and comparing

    def call(self, client, method, **fields):
        """What a call answers, or (code, reason)."""
        self.calls += 1
        try:
            return getattr(getattr(self.server(), client), method)(**fields)
        except grpc.RpcError as error:
            if error.code().name in storm.PASSING:
                self.lost += 1
                raise Lost from error
            failure = harness.Failure().read(error)
            return failure.code, failure.reason

    def repeat(self, client, method, **fields):
        """For calls that may be sent again."""
        deadline = time.monotonic() + harness.PATIENCE
        while True:
            try:
                return self.call(client, method, **fields)
            except Lost:
                self.test.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)

    def compare(self, expected, answer):
        if isinstance(expected, tuple):
            self.test.assertEqual(answer, expected)
            return
        self.test.assertNotIsInstance(answer, tuple, expected.view())
        self.test.assertEqual(task_oracle.Task.view_of(answer), expected.view())
        expected.run_time = answer.run_time.ToMicroseconds()

    def listed(self, method="ListTasks", limit=100, **fields):
        """All pages; nothing changes meanwhile."""
        found, token = [], ""
        while True:
            answer = self.repeat("tasks", method, queue=self.queue.name, limit=limit,
                                 page_token=token, **fields)
            found += answer.tasks
            token = answer.next_page_token
            if not token:
                return found

    def list(self):
        state = self.random.choice((0, PENDING, RUNNING, DEAD)) if self.chance(0.3) else 0
        found = self.listed(state=state)
        expected = sorted((t.id for t in self.queue.tasks.values() if state in (0, t.state)),
                          reverse=True)
        self.test.assertEqual([task.id for task in found], expected)
        for answer in found:
            self.compare(self.queue.tasks[answer.id], answer)
        if state == DEAD:
            dead = self.listed("ListDeadTasks", limit=7)
            self.test.assertEqual(dead, sorted(
                found, key=lambda task: (task.update_time.ToMicroseconds(), task.id), reverse=True))
        if state:
            self.list()

    def read_back(self):
        """What the service says once no statement of a killed server goes on."""
        now = self.test.database.value("SELECT clock_timestamp()")
        harness.poll("the last statements to end", lambda: not self.test.database.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley-schedulerd'"
            " AND xact_start < %s", now))
        self.queue.adopt(self.test, self.listed(), self.doubt)
        self.list()

    # ---- Producers

    def some_fields(self):
        earlier = list(self.queue.requests.values())
        if earlier and self.chance(0.1):
            fields = dict(self.random.choice(earlier)[0])
            return fields | ({"payload": b"other"} if self.chance(0.3) else {})
        self.names += 1
        name = f"{self.queue.name}-{self.names}"
        fields = {"queue": self.queue.name, "name": name, "request_id": name,
                  "payload": self.random.randbytes(8), "priority": self.random.choice((0, 5, 9)),
                  "max_attempts": self.random.randint(1, 4), "retry_policy": NO_REST}
        if self.chance(0.25):
            fields["delay"] = HOUR
        if self.chance(0.3):
            fields |= {"dedupe_key": f"key {self.random.randrange(4)}",
                       "dedupe_policy": self.random.choice(POLICIES)}
        return fields

    def create(self):
        fields = self.some_fields()
        expected = self.queue.create(fields)
        answer = self.repeat("tasks", "CreateTask", **fields)
        if expected is None:
            self.test.assertNotIsInstance(answer, tuple, answer)
            self.test.assertNotIn(answer.id, self.queue.tasks)
            expected = self.queue.created(fields, answer.id)
        self.compare(expected, answer)

    def batch_create(self):
        batch = [self.some_fields() for _ in range(self.random.randint(2, 8))]
        results = self.repeat("tasks", "BatchCreateTasks", requests=batch).results
        self.test.assertEqual(len(results), len(batch))
        for fields, result in zip(batch, results):
            expected = self.queue.create(fields)
            if isinstance(expected, tuple):
                failure = harness.Failure().read_status(result.error)
                self.test.assertEqual(failure.reason, expected[1])
                continue
            if expected is None:
                self.test.assertNotIn(result.task_id, self.queue.tasks)
                expected = self.queue.created(fields, result.task_id)
            self.test.assertEqual(result.task_id, expected.id, result)
        self.list()

    def cancel(self):
        if task := self.some_task(*(() if self.chance(0.3) else (PENDING, RUNNING))):
            expected = self.queue.cancel(task)
            self.compare(expected, self.repeat("tasks", "CancelTask", task_id=task.id))

    def reschedule(self):
        if task := self.some_task(*(() if self.chance(0.3) else (PENDING,))):
            later = self.chance(0.5)
            expected = self.queue.reschedule(task, not later)
            self.compare(expected, self.repeat("tasks", "RescheduleTask", task_id=task.id,
                                               **({"delay": HOUR} if later else {})))

    def run_now(self):
        if task := self.some_task(*(() if self.chance(0.3) else (PENDING,))):
            expected = self.queue.reschedule(task, True)
            self.compare(expected, self.repeat("tasks", "RunTaskNow", task_id=task.id))

    def redrive(self):
        task = self.some_task(*(() if self.chance(0.2) else (DEAD,)))
        # Whose the key is after others have had it meanwhile, test_dedupe.py asks.
        if task and self.queue.keys.get(task.dedupe_key, task.id) == task.id:
            expected = self.queue.redrive(task)
            self.compare(expected, self.repeat("tasks", "RedriveTask", task_id=task.id))

    def expire(self):
        """A tick: nobody leases the task, so it expires; the client waits for it."""
        fields = self.some_fields() | {"request_id": f"expires-{self.queue.name}-{self.calls}",
                                       "delay": HOUR}
        fields = {k: v for k, v in fields.items() if not k.startswith("dedupe")}
        fields["expire_time"] = {"seconds": int(time.time()) + 5}
        answer = self.repeat("tasks", "CreateTask", **fields)
        task = self.queue.created(fields, answer.id)
        self.compare(task, answer)
        self.queue.move(task, EXPIRED)
        self.compare(task, self.repeat("tasks", "WaitTask", task_id=task.id))
