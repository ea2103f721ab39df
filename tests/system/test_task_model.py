"""Random calls on tasks from many clients, every answer compared with what task_oracle.py says it
must be, while schedulers are killed.

PARLEY_TEST_SEED repeats the choices of a run, though not when servers are killed;
PARLEY_TEST_OPERATIONS sets how many operations each client makes.
"""

import concurrent.futures
import os
import random
import threading
import time
import unittest

import harness
import storm
import task_oracle
from task_client import HOUR, Lost, Producer
from task_oracle import CANCELLED, DEAD, ENDED, PENDING, RUNNING, SUCCEEDED
from worker import Worker

CLIENTS, SERVERS = 5, 2
OPERATIONS = int(os.environ.get("PARLEY_TEST_OPERATIONS", "700"))
WRONG_TOKEN = "0" * 32
# The states to which a call brings a task whose lease it is for.
ENDS = {"ack": {SUCCEEDED}, "fail": {PENDING, DEAD, CANCELLED}, "release": {PENDING, CANCELLED},
        "extend": set()}


class Client(Producer):
    """A producer that works on its tasks too, and looks after its queue."""

    # ---- Workers

    def lease(self):
        """Exactly the first that are due, in their order."""
        count = self.random.randint(1, 6)
        expected = self.queue.due()[:count]
        wait = {"wait_for": {"seconds": 20}} if expected else {}
        self.doubt = {task.id: {RUNNING} for task in expected}
        answer = self.call("workers", "LeaseTasks", queues=[self.queue.name], max_tasks=count,
                           lease_duration=HOUR, **wait)
        self.take(expected, answer.leases)

    def take(self, expected, leases):
        self.test.assertEqual([(l.task.priority, l.task.run_time.ToMicroseconds()) for l in leases],
                              [(t.priority, t.run_time) for t in expected])
        for lease in leases:
            task = self.queue.tasks[lease.task.id]
            self.test.assertEqual(task.state, PENDING, "two live leases")
            self.test.assertNotIn(lease.lease_token, task.old_tokens)
            self.queue.lease(task, lease.lease_token)
            self.compare(task, lease.task)

    def stream(self):
        """A stream that takes some, ends some of them and leaves: the rest is released."""
        count = self.random.randint(1, 6)
        expected = self.queue.due()[:count]
        self.doubt = {task.id: {RUNNING} for task in expected}
        worker = Worker(self.server(), [self.queue.name], hello={"lease_duration": HOUR},
                        credit=len(expected) or 1)
        try:
            leases = worker.wait_for("leases", len(expected)) if expected else []
            self.take(expected, leases)
            tasks = [self.queue.tasks[lease.task.id] for lease in leases]
            acks = [task for task in tasks if self.chance(0.6)]
            self.doubt = {task.id: ENDS["ack" if task in acks else "release"] for task in tasks}
            worker.tell(acks=[{"task_id": task.id, "lease_token": task.token} for task in acks],
                        goodbye=True)
            worker.join(harness.PATIENCE)
        except AssertionError as failure:
            if worker.error is None:
                raise
            raise Lost from failure
        finally:
            worker.call.cancel()
        if worker.error is not None:
            raise Lost from worker.error
        self.test.assertEqual(worker.told("errors"), [])
        self.test.assertLessEqual({task.id for task in acks}, set(worker.told("settled_task_ids")))
        for task in tasks:
            if task in acks:
                self.queue.ack(task, task.token, b"")
            else:
                self.queue.release(task, task.token)
        self.list()

    def settle(self):
        """Ack, fail, release or extend with the right token, an old one or a wrong one."""
        task = self.some_task(*(() if self.chance(0.2) else (RUNNING,)))
        if not task:
            return
        token = task.token or WRONG_TOKEN
        if self.chance(0.2):
            token = self.random.choice([WRONG_TOKEN, *task.old_tokens])
        key = {"task_id": task.id, "lease_token": token}
        kind = self.random.choice(("ack", "fail", "fail", "release", "extend"))
        if kind == "ack":
            call, more = "AckTask", {"result": self.random.randbytes(4)}
        elif kind == "fail":
            call, more = "FailTask", {"error": f"no {self.calls}", "for_good": self.chance(0.2)}
        elif kind == "release":
            call, more = "ReleaseTask", {}
        else:
            call, more = "ExtendLease", {"lease_duration": HOUR}
        self.doubt = {task.id: ENDS[kind] if self.queue.held(task, token) else set()}
        answer = self.call("workers", call, **key, **more)
        more.pop("lease_duration", None)
        self.compare(getattr(self.queue, kind)(task, token, **more), answer)

    def run_out(self):
        """A tick: a lease is made short, and runs out."""
        held = [task for task in self.queue.in_state(RUNNING) if task.token]
        if not held:
            return
        task = self.random.choice(held)
        # Repeated, it may come too late; all the same the lease runs out.
        self.repeat("workers", "ExtendLease", task_id=task.id, lease_token=task.token,
                    lease_duration={"seconds": 1})

        def ended():
            answer = self.repeat("tasks", "GetTask", task_id=task.id)
            return answer.state != RUNNING and answer

        answer = harness.poll("a lease to run out", ended)
        self.compare(self.queue.fail(task, task.token, answer.last_error, False), answer)

    # ---- Queues and reads

    def pause(self):
        self.queue.paused = not self.queue.paused
        self.repeat("queues", "PauseQueue" if self.queue.paused else "ResumeQueue",
                    queue=self.queue.name)

    def purge(self):
        self.doubt = {task.id: {CANCELLED} for task in self.queue.in_state(PENDING)}
        answer = self.call("queues", "PurgeQueue", queue=self.queue.name)
        self.test.assertEqual((answer.task_count, answer.done), (self.queue.purge(), True))

    def get(self):
        if task := self.some_task():
            self.compare(task, self.repeat("tasks", "GetTask", task_id=task.id))
        self.test.assertEqual(self.repeat("tasks", "GetTask", task_id=999_999_999),
                              task_oracle.NOT_FOUND)

    def wait(self):
        if task := self.some_task(*ENDED):
            self.compare(task, self.repeat("tasks", "WaitTask", task_id=task.id))

    def stats(self):
        said = self.repeat("queues", "GetQueueStats", queue=self.queue.name)
        self.test.assertEqual(
            (said.pending_count, said.running_count, said.dead_count, said.created_total,
             said.succeeded_total, said.cancelled_total, said.expired_total, said.died_total,
             said.retried_total), self.queue.stats())

    def run(self):
        kinds = {self.create: 8, self.batch_create: 1, self.lease: 6, self.settle: 16,
                 self.stream: 1, self.cancel: 1.5, self.reschedule: 1.5, self.run_now: 1,
                 self.redrive: 1, self.pause: 0.5, self.purge: 0.1, self.get: 1, self.wait: 0.5,
                 self.list: 0.3, self.stats: 1, self.expire: 0.06, self.run_out: 0.2}
        for _ in range(OPERATIONS):
            if self.test.failed.is_set():
                return
            kind = self.random.choices(list(kinds), kinds.values())[0]
            try:
                kind()
            except Lost:
                self.read_back()
        self.list()
        self.stats()


class TaskModelTest(harness.SystemTest):
    def crash(self, clients, chooser):
        """Runs the clients, and kills a server now and then; returns how many."""

        def run(number):
            try:
                clients[number].run()
            except BaseException:
                self.failed.set()
                raise

        killed = 0
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            running = executor.submit(harness.in_threads, CLIENTS, run)
            while True:
                done, _ = concurrent.futures.wait([running], chooser.uniform(1, 3))
                if done:
                    running.result()
                    return killed
                self.servers.kill_one(chooser)
                killed += 1

    def check_stored(self, queue):
        """Every task is in one place, as the model has it, and has ended once or not at all."""
        states = [None, "pending", "running", "succeeded", "dead", "cancelled", "expired"]
        found = self.database.rows(
            "SELECT id, state::text, attempt, max_attempts FROM all_tasks WHERE queue = %s"
            " ORDER BY id", queue.name)
        self.assertEqual(found, [(t.id, states[t.state], t.attempt, t.max_attempts)
                                 for _, t in sorted(queue.tasks.items())])
        for task_id, _, attempt, limit in found:
            self.assertLessEqual(attempt, limit, task_id)

    def test_every_answer_is_the_models(self):
        seed = storm.seed()
        self.failed = threading.Event()
        self.servers = storm.Processes(self, "schedulerd", SERVERS, self.database.url)
        clients = [Client(self, number, seed) for number in range(CLIENTS)]
        started = time.monotonic()
        killed = self.crash(clients, random.Random(seed))
        seconds = time.monotonic() - started
        print(f"{sum(c.calls for c in clients)} calls on"
              f" {sum(len(c.queue.tasks) for c in clients)} tasks in {seconds:.1f} s, {killed}"
              f" servers killed, {sum(c.lost for c in clients)} answers lost", flush=True)
        for client in clients:
            self.check_stored(client.queue)


if __name__ == "__main__":
    unittest.main()
