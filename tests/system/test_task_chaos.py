"""Schedulers, workers and PostgreSQL are killed, again and again, while tasks are made and worked on.

PARLEY_TEST_SEED repeats the choices of a run, though not its timing; PARLEY_TEST_SECONDS sets how
long the storm goes on.
"""

import collections
import concurrent.futures
import itertools
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

import harness
import storm
from cluster import Cluster
from database import Database
from laborer import Laborer
from ledger import Account, Ledger
from schedules import ALLOW, EVERY_SECOND

SERVERS, PRODUCERS, THREADS, PROCESSES, SCHEDULES = 3, 3, 4, 2, 3
# Payload -> how many attempts it has. That of what should succeed in the end is not used up by a storm.
LIMITS = {b"": 100, b"fail twice": 100, b"fail": 3, b"kill": 3}
DOOMED = {b"fail", b"kill"}
COMMON, DEADLY = "common", "deadly"
RETRY = {"initial_backoff": {"nanos": 50_000_000}, "max_backoff": {"nanos": 200_000_000}}


class Producer(storm.Caller):
    """Makes tasks, and repeats each call until it is answered."""

    def __init__(self, test, number, seed):
        super().__init__()
        self.test, self.number = test, number
        self.random = random.Random(f"{seed} {number}")
        self.answered = {}  # request_id -> (request, task id)
        self._names = itertools.count()

    def tasks(self):
        return self.random.choice(self.test.servers.running).tasks

    def new_task(self, payload=None):
        """Its name is its request_id, so that the table shows what was made of a request."""
        name = f"{self.number}-{next(self._names)}"
        if payload is None:
            payload = self.random.choices((b"", b"fail twice", b"fail"), (20, 3, 1))[0]
        return {"queue": DEADLY if payload == b"kill" else COMMON, "name": name,
                "request_id": name, "payload": payload, "max_attempts": LIMITS[payload],
                "retry_policy": RETRY, "priority": self.random.randrange(10),
                "delay": {"nanos": self.random.choice((0, 0, self.random.randrange(10**9)))}}

    def create(self, payload=None):
        task = self.new_task(payload)
        answer = self.until_answered(lambda: self.tasks().CreateTask(timeout=3, **task))
        self.answered[task["name"]] = (task, answer.id)

    def create_batch(self):
        left = [self.new_task() for _ in range(self.random.randint(2, 20))]
        deadline = time.monotonic() + harness.PATIENCE
        while left:
            results = self.until_answered(lambda left=left: self.tasks().BatchCreateTasks(
                timeout=3, requests=left)).results
            again = []
            for task, result in zip(left, results, strict=True):
                if result.WhichOneof("outcome") == "task_id":
                    self.answered[task["name"]] = (task, result.task_id)
                else:
                    self.passes(result.error)
                    again.append(task)
            self.test.assertLess(time.monotonic(), deadline, "a batch is never answered")
            left = again

    def run(self):
        self.create(b"kill")
        while not self.test.over.is_set():
            self.random.choices((self.create, self.create_batch), (4, 1))[0]()
            time.sleep(self.random.uniform(0, 0.06))

    def repeat_some(self):
        """What was answered once is answered the same when it is asked for again."""
        for task, task_id in self.random.sample(list(self.answered.values()), 20):
            self.test.assertEqual(self.tasks().CreateTask(**task).id, task_id)


class Laborers:
    """The workers: threads that stay, and processes that are killed and replaced."""

    def __init__(self, test, seed):
        directory = tempfile.TemporaryDirectory(prefix="parley-storm-")
        test.addCleanup(directory.cleanup)
        self._addresses, self._path = (os.path.join(directory.name, name)
                                       for name in ("addresses", "ledger"))
        self.ledger = Ledger(self._path)
        self._seeds = (f"{seed} worker {number}" for number in itertools.count())
        self.tell_addresses(test.servers)
        self._laborers = [Laborer(self._addresses, self.ledger, [COMMON], next(self._seeds))
                          for _ in range(THREADS)]
        executor = concurrent.futures.ThreadPoolExecutor(THREADS)
        self._threads = [executor.submit(laborer.run) for laborer in self._laborers]
        test.addCleanup(self.stop)
        self.ended = 0
        self.processes = [self._start() for _ in range(PROCESSES)]

    def tell_addresses(self, servers):
        with open(self._addresses + ".new", "w", encoding="ascii") as file:
            file.write("\n".join(server.address for server in servers.running))
        os.rename(self._addresses + ".new", self._addresses)

    def _start(self):
        # setpriv ends it when the test is killed.
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-B", "laborer.py", self._addresses,
             self._path, next(self._seeds), COMMON, DEADLY],
            cwd=harness.HERE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})

    def tend(self):
        """Replaces those whose task has killed them."""
        for index, process in enumerate(self.processes):
            if process.poll() is not None:
                if process.returncode != -9:
                    raise AssertionError(f"a worker ended with {process.returncode}")
                self.ended += 1
                self.processes[index] = self._start()

    def kill_one(self, chooser):
        process = chooser.choice(self.processes)
        process.kill()
        process.wait()
        self.tend()

    def stop(self):
        for laborer in self._laborers:
            laborer.stop()
        for thread in self._threads:
            thread.result(harness.PATIENCE)  # or what it failed with
        for process in self.processes:
            process.kill()
            process.wait()


class TaskChaosTest(harness.SystemTest):
    @classmethod
    def new_database(cls):
        cls.cluster = Cluster("max_connections = 150", "shared_buffers = 32MB")
        cls.addClassCleanup(cls.cluster.remove)
        return Database("taskchaos", cluster_url=cls.cluster.url)

    def test_every_task_ends_once_and_every_firing_is_one_task(self):
        seed = storm.seed()
        self.over = threading.Event()
        self.servers = storm.Processes(self, "schedulerd", SERVERS, self.database.url)
        self.laborers = Laborers(self, seed)
        producers = [Producer(self, number, seed) for number in range(PRODUCERS)]
        schedules = [self.create_schedule(number) for number in range(SCHEDULES)]
        counts = self.rage(producers, random.Random(seed))
        passing = sum((producer.passing for producer in producers), collections.Counter())
        caller = storm.Caller()
        for schedule in schedules:
            caller.until_answered(
                lambda s=schedule: self.servers.running[0].schedules.PauseSchedule(
                    schedule_id=s.id))
        self.drain()
        print(f"{sum(len(p.answered) for p in producers)} answered; killed {dict(counts)},"
              f" {self.laborers.ended} workers; repeated after {dict(passing)};"
              f" {len(self.laborers.ledger.entries())} lines of ledger", flush=True)
        self.assertGreater(passing["UNAVAILABLE"], 0, "nothing was disturbed")
        self.check_tasks(producers)
        self.check_ledger()
        for schedule in schedules:
            self.check_schedule(schedule)
        self.check_stats()
        for producer in producers:
            producer.repeat_some()

    def create_schedule(self, number):
        return self.servers.running[0].schedules.CreateSchedule(schedule={
            "name": f"schedule {number}", "spec": EVERY_SECOND,
            "task": {"queue": COMMON, "name": "fired", "max_attempts": 100, "retry_policy": RETRY},
            "misfire_policy": "MISFIRE_POLICY_ALL", "misfire_limit": 1000, "overlap_policy": ALLOW})

    def rage(self, producers, chooser):
        """The storm; returns what was killed how often."""
        failures = []

        def produce():
            try:
                harness.in_threads(PRODUCERS, lambda number: producers[number].run())
            except BaseException as failure:  # for the main thread to raise
                failures.append(failure)

        def kill_server():
            self.servers.kill_one(chooser)
            self.laborers.tell_addresses(self.servers)
            self.laborers.tend()

        def crash():
            self.laborers.ledger.write(event="crash begins")
            self.cluster.crash()
            self.laborers.ledger.write(event="crash ended")

        server = ("server", kill_server)
        worker = ("worker", lambda: self.laborers.kill_one(chooser))
        producing = threading.Thread(target=produce)
        producing.start()
        try:
            counts = storm.disturb(chooser, storm.SECONDS, (
                server, worker, ("database", crash), server, worker))
        finally:
            self.over.set()
            producing.join()
        if failures:
            raise failures[0]
        return counts

    def drain(self):
        def left():
            self.laborers.tend()
            return self.database.value("SELECT count(*) FROM tasks")
        harness.poll("every task to end", lambda: not left(), seconds=2 * harness.PATIENCE)
        self.laborers.stop()

    def check_tasks(self, producers):
        """Each was made once and ended once, in the way that was to be expected."""
        found = collections.defaultdict(list)
        for row in self.database.rows(
                "SELECT name, id, state, attempt, max_attempts FROM all_tasks"
                " WHERE schedule_id IS NULL"):
            found[row[0]].append(row[1:])
        for producer in producers:
            for name, (task, task_id) in producer.answered.items():
                limit = task["max_attempts"]
                with self.subTest(request_id=name, payload=task["payload"]):
                    rows = found.pop(name, [])
                    self.assertEqual([row[0] for row in rows], [task_id])
                    _, state, attempt, max_attempts = rows[0]
                    self.assertEqual(max_attempts, limit)
                    if task["payload"] in DOOMED:
                        self.assertEqual((state, attempt), ("dead", limit))
                    else:
                        self.assertEqual(state, "succeeded")
                        self.assertLessEqual(attempt, limit)
        self.assertFalse(found, "made, though nobody was answered so")

    def check_ledger(self):
        """What workers have done and were told agrees with what the tables say."""
        account = Account(self.laborers.ledger.entries())
        self.assertEqual(account.problems, [])
        ended = {}
        for task_id, attempt, token in self.database.rows(
                "SELECT id, attempt, lease_token FROM task_history"):
            ended[task_id] = uuid.UUID(token)
            self.assertTrue(ended[task_id] in account.attempts.get((task_id, attempt), ()), task_id)
        for task_id, token in account.acked.items():
            self.assertEqual(ended.get(task_id), token, f"the ack of {task_id} was undone")
        for task_id, token in account.failed:
            self.assertNotEqual(ended.get(task_id), token, f"{task_id} failed and succeeded")
        limits = dict(self.database.rows("SELECT id, max_attempts FROM all_tasks"))
        for task_id, attempt in account.attempts:
            self.assertTrue(1 <= attempt <= limits.get(task_id, 0), (task_id, attempt))

    def check_schedule(self, schedule):
        """A task for every second from its creation to its last firing, and for none two."""
        rows = self.database.rows(
            "SELECT extract(epoch FROM fire_at)::float, state FROM all_tasks"
            " WHERE schedule_id = %s ORDER BY fire_at", schedule.id)
        times = [fire_at for fire_at, _ in rows]
        self.assertEqual(times, [times[0] + i for i in range(len(times))])
        self.assertEqual({state for _, state in rows}, {"succeeded"})
        self.assertEqual(times[0], schedule.next_fire_time.ToMicroseconds() / 1e6)
        self.assertGreater(len(times), storm.SECONDS / 2)
        after = self.servers.running[0].schedules.GetSchedule(schedule_id=schedule.id)
        self.assertEqual((after.counters.fired, after.counters.missed), (len(times), 0))
        self.assertEqual(after.last_fire_time.ToMicroseconds() / 1e6, times[-1])

    def check_stats(self):
        for queue in (COMMON, DEADLY):
            stats = self.servers.running[0].queues.GetQueueStats(queue=queue)
            states = collections.Counter(dict(self.database.rows(
                "SELECT state, count(*) FROM all_tasks WHERE queue = %s GROUP BY state", queue)))
            self.assertEqual(
                (stats.created_total, stats.succeeded_total, stats.died_total, stats.dead_count,
                 stats.pending_count, stats.running_count),
                (sum(states.values()), states["succeeded"], states["dead"], states["dead"], 0, 0))


if __name__ == "__main__":
    unittest.main()
