"""Work streams: credit, leases, acks and all else of workers, on the real programs."""

import itertools
import signal
import threading
import time
import types
import unittest

import grpc

import harness
from proxy import Road
from worker import CANCELLED, DEAD, PENDING, RUNNING, SUCCEEDED, Worker, key

ABORTED, NOT_FOUND = 10, 5


class WorkCase(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def create(self, **fields):
        return self.tasks.CreateTask(**{"queue": self.queue, "name": "task"} | fields)

    def create_many(self, count):
        results = self.tasks.BatchCreateTasks(
            requests=[{"queue": self.queue, "name": "task"}] * count).results
        return [result.task_id for result in results]

    def worker(self, service=None, **first):
        worker = Worker(service or self.schedulerd, [self.queue], **first)
        self.addCleanup(worker.call.cancel)
        return worker

    def lease(self, **fields):
        return list(self.workers.LeaseTasks(**{"queues": [self.queue]} | fields).leases)

    def state(self, task_id):
        return self.tasks.GetTask(task_id=task_id).state


class StreamTest(WorkCase):
    def test_leases_come_against_credit_only(self):
        ids = self.create_many(5)
        worker = self.worker()
        time.sleep(0.3)
        self.assertEqual(worker.told("leases"), [])
        worker.tell(credit=2)
        self.assertEqual([lease.task.id for lease in worker.wait_for("leases", 2)], ids[:2])
        time.sleep(0.3)
        self.assertEqual(len(worker.told("leases")), 2)
        worker.tell(credit=10)
        self.assertEqual([lease.task.id for lease in worker.wait_for("leases", 5)], ids)
        later = self.create(delay={"nanos": 300_000_000})
        lease = worker.wait_for("leases", 6)[5]
        self.assertEqual((lease.task.id, lease.task.state, lease.task.attempt),
                         (later.id, RUNNING, 1))

    def test_what_is_told_is_answered(self):
        acked, failed, dead, released, lost = self.create_many(5)
        worker = self.worker(credit=5)
        leases = {lease.task.id: lease for lease in worker.wait_for("leases", 5)}
        worker.tell(acks=[key(leases[acked], result=b"done"),
                          key(leases[lost], lease_token="0" * 32)],
                    fails=[key(leases[failed], error="no"),
                           key(leases[dead], error="never", for_good=True)],
                    releases=[key(leases[released])])
        worker.wait_for("errors", 1)
        self.assertEqual(set(worker.wait_for("settled_task_ids", 4)),
                         {acked, failed, dead, released})
        error, = worker.told("errors")
        self.assertEqual((error.task_id, error.status.code,
                          harness.Failure().read_status(error.status).reason),
                         (lost, ABORTED, "LEASE_LOST"))
        done = self.tasks.GetTask(task_id=acked)
        self.assertEqual((done.state, done.result), (SUCCEEDED, b"done"))
        task = self.tasks.GetTask(task_id=failed)
        self.assertEqual((task.state, task.attempt, task.last_error), (PENDING, 1, "no"))
        self.assertEqual(self.state(dead), DEAD)
        task = self.tasks.GetTask(task_id=released)
        self.assertEqual((task.state, task.attempt, list(task.errors)), (PENDING, 0, []))
        # The same ack again is answered the same; of a task that is not there it says so.
        worker.tell(acks=[key(leases[acked]), key(leases[acked], task_id=999_999_999)])
        self.assertEqual(worker.wait_for("settled_task_ids", 5)[4], acked)
        self.assertEqual(worker.wait_for("errors", 2)[1].status.code, NOT_FOUND)

    def test_an_extended_lease_lasts(self):
        task = self.create()
        worker = self.worker(credit=1, hello={"lease_duration": {"seconds": 1}})
        lease, = worker.wait_for("leases")
        worker.tell(extends=[key(lease, lease_duration={"seconds": 60})])
        extended, = worker.wait_for("extended")
        self.assertEqual(extended.task_id, task.id)
        self.assertGreater(extended.lease_duration.ToSeconds(), 50)
        time.sleep(2.5)
        self.assertEqual(worker.told("lost_task_ids"), [])
        worker.tell(acks=[key(lease)])
        self.assertEqual(worker.wait_for("settled_task_ids"), [task.id])

    def test_a_worker_is_told_what_it_has_lost(self):
        task = self.create()
        worker = self.worker(credit=1, hello={"lease_duration": {"seconds": 1}})
        first, = worker.wait_for("leases")
        self.assertEqual(worker.wait_for("lost_task_ids"), [task.id])
        worker.tell(credit=1, acks=[key(first)])
        self.assertEqual(worker.wait_for("errors")[0].status.code, ABORTED)
        self.assertEqual(worker.wait_for("leases", 2)[1].task.attempt, 2)

    def test_a_worker_is_told_to_cancel_by_any_process(self):
        other = self.start("schedulerd")
        ids = self.create_many(2)
        worker = self.worker(credit=2)
        leases = worker.wait_for("leases", 2)
        for service, task_id, count in ((self.schedulerd, ids[0], 1), (other, ids[1], 2)):
            self.assertTrue(service.tasks.CancelTask(task_id=task_id).cancel_requested)
            self.assertEqual(worker.wait_for("cancel_task_ids", count)[-1], task_id)
        worker.tell(releases=[key(leases[0])], fails=[key(leases[1], error="stopped")])
        worker.wait_for("settled_task_ids", 2)
        self.assertEqual([self.state(task_id) for task_id in ids], [CANCELLED, CANCELLED])
        self.assertEqual(len(worker.told("cancel_task_ids")), 2)

    def test_a_worker_that_says_goodbye_gives_its_leases_back(self):
        acked, kept = self.create_many(2)
        worker = self.worker(credit=5)
        leases = worker.wait_for("leases", 2)
        worker.tell(acks=[key(leases[0])], goodbye=True)
        worker.join(harness.PATIENCE)
        self.assertIsNone(worker.error)
        self.assertEqual(worker.told("settled_task_ids"), [acked])
        lease, = self.lease()
        self.assertEqual((lease.task.id, lease.task.attempt), (kept, 1))

    def test_a_broken_stream_is_a_failed_attempt_and_comes_again_at_once(self):
        once = self.create(max_attempts=1)
        task = self.create()
        for half_close in (False, True):
            worker = self.worker(credit=5, hello={"lease_duration": {"seconds": 3600}})
            leases = worker.wait_for("leases", 1 if half_close else 2)
            if half_close:
                worker.sent.put(None)
            else:
                worker.call.cancel()
            lease, = self.lease(wait_for={"seconds": 30})
            self.assertEqual((lease.task.id, lease.task.attempt),
                             (task.id, leases[-1].task.attempt + 1))
            self.assertEqual(lease.task.last_error, "the worker's stream broke")
            self.workers.ReleaseTask(task_id=task.id, lease_token=lease.lease_token)
        self.assertEqual(self.state(once.id), DEAD)

    def test_a_frame_that_is_wrong_ends_the_stream_and_does_nothing(self):
        task = self.create()
        wrong = [({"credit": -1}, "credit"), ({"credit": 10_001}, "credit"),
                 ({"hello": {"queues": ["q"]}}, "hello"),
                 ({"extends": [{"task_id": 1, "lease_token": "0" * 32,
                                "lease_duration": {"seconds": 7200}}]},
                  "extends[0].lease_duration"),
                 ({"releases": [{"task_id": 1, "lease_token": "x"}]},
                  "releases[0].lease_token"),
                 ({"fails": [{"task_id": 1, "lease_token": "0" * 32}] * 1001}, "acks")]
        for fields, field in wrong:
            with self.subTest(field):
                worker = self.worker(credit=1)
                lease, = worker.wait_for("leases")
                worker.tell(**fields | {"acks": [key(lease)]})
                worker.join(harness.PATIENCE)
                self.check_failure(harness.Failure().read(worker.error), "INVALID_ARGUMENT",
                                   field=field)
                self.assertEqual(harness.poll("the task to be pending", lambda: (
                    self.state(task.id) != RUNNING and self.state(task.id))), PENDING)
        for queues in ([], ["parley.x"], ["a b"]):
            worker = Worker(self.schedulerd, queues)
            worker.join(harness.PATIENCE)
            failure = harness.Failure().read(worker.error)
            self.check_failure(failure, "INVALID_ARGUMENT", field="hello.queues")

    def test_a_server_that_goes_down_tells_its_workers_to_finish(self):
        doomed = self.start("schedulerd")
        task = self.create()
        worker = self.worker(doomed, credit=2)
        lease, = worker.wait_for("leases")
        idle = self.worker(doomed)  # without credit
        idle.tell()
        doomed.signal(signal.SIGTERM)
        harness.poll("the drain", lambda: any(frame.drain for frame in worker.frames))
        harness.poll("the drain", lambda: any(frame.drain for frame in idle.frames))
        self.create()
        worker.tell(acks=[key(lease)])
        self.assertEqual(worker.wait_for("settled_task_ids"), [task.id])
        self.assertEqual((worker.leave(), idle.leave()), (None, None))
        self.assertEqual(len(worker.told("leases")), 1)
        doomed.close()
        self.assertEqual(doomed.wait(), 0)

    def test_a_worker_whose_host_has_vanished_is_found_out(self):
        # Long enough for a worker here, however busy the machine is.
        server = self.start("schedulerd", "--keepalive", "3s")
        host, port = server.address.rsplit(":", 1)
        road = Road(host, int(port))
        self.addCleanup(road.cut)
        channel = grpc.insecure_channel(f"127.0.0.1:{road.port}",
                                        options=[("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        ghost = self.worker(types.SimpleNamespace(
            workers=harness.Client(channel, *harness.CLIENTS["schedulerd"]["workers"])),
            credit=1, hello={"lease_duration": {"seconds": 3600}})
        task = self.create()
        ghost.wait_for("leases")
        road.block()
        worker = self.worker(server, credit=1)
        [lease] = worker.wait_for("leases")
        self.assertEqual((lease.task.id, lease.task.attempt), (task.id, 2))
        self.assertEqual(lease.task.errors[0].text, "the worker's stream broke")


class ManyTest(WorkCase):
    TASKS = 4000

    def work(self, service, ledger, done=lambda: False):
        """Acks what comes, and notes in `ledger` what that settled, until all is done or the stream
        ends."""
        worker = self.worker(service, credit=500)
        seen = 0  # frames
        while not done() and not worker.ended:
            frames = worker.frames[seen:]
            seen += len(frames)
            for frame in frames:
                ledger.update(frame.settled_task_ids)
                if frame.leases:
                    worker.tell(credit=len(frame.leases),
                                acks=[key(lease) for lease in frame.leases])
            if not frames:
                time.sleep(0.002)
        return worker

    def test_two_servers_and_four_workers_do_each_task_once(self):
        other = self.start("schedulerd")
        services, ledger = (self.schedulerd, other), set()
        made = []

        def run(number):
            if number == 0:
                for _ in range(self.TASKS // 500):
                    made.extend(self.create_many(500))
                return None
            return self.work(services[number % 2], ledger, lambda: len(ledger) == self.TASKS)

        workers = harness.in_threads(5, run)[1:]
        self.assertEqual(ledger, set(made))
        leases = list(itertools.chain.from_iterable(w.told("leases") for w in workers))
        self.assertEqual(len(leases), self.TASKS)
        self.assertEqual({lease.task.attempt for lease in leases}, {1})
        self.assertEqual(self.database.rows(
            "SELECT state, attempt, count(*) FROM all_tasks WHERE queue = %s "
            "GROUP BY state, attempt", self.queue), [("succeeded", 1, self.TASKS)])

    def test_killed_servers_and_workers_lose_no_task(self):
        """A server is killed again and again, and streams are cut; each task ends acked, once."""
        ledger, rounds = set(), 4
        made = self.create_many(1000)
        doomed = self.start("schedulerd")
        for _ in range(rounds):
            working = threading.Thread(target=self.work, args=(doomed, ledger), daemon=True)
            working.start()
            made += self.create_many(500)
            cut = self.worker(credit=100)  # of the server that lives; acks nothing
            harness.poll("some acks", lambda: len(ledger) > 100)
            doomed.kill()
            working.join(harness.PATIENCE)
            cut.call.cancel()
            doomed = self.start("schedulerd")
        # What a killed server had leased comes back when the leases run out; not to wait for that:
        self.database.script("UPDATE tasks SET lease_until = now() WHERE state = 'running'")
        self.work(self.schedulerd, ledger, lambda: not self.database.value(
            "SELECT count(*) FROM tasks WHERE queue = %s", self.queue))
        self.assertEqual(self.database.rows(
            "SELECT state, count(*) FROM all_tasks WHERE queue = %s GROUP BY state", self.queue),
            [("succeeded", len(made))])
        self.assertLessEqual(ledger, set(made))


if __name__ == "__main__":
    unittest.main(verbosity=2)
