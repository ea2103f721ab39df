"""Tasks that are handed to a gRPC service of the caller's, written in Python from the protos."""

import concurrent.futures
import importlib
import threading
import time
import unittest

import grpc

import harness
from brokers import free_port
from push_cases import CANCELLED, DEAD, PENDING, RUNNING, SUCCEEDED, PushCase

handler_pb2 = importlib.import_module("parley.scheduler.v1.task_handler_pb2")
handler_grpc = importlib.import_module("parley.scheduler.v1.task_handler_pb2_grpc")


def target(name="handler", timeout=30, max_calls=16):
    nanos = round(timeout % 1 * 10**9)
    return {"name": name, "grpc": {"timeout": {"seconds": int(timeout), "nanos": nanos},
                                   "max_calls": max_calls}}


class Handler(handler_grpc.TaskHandlerServicer):
    """Does what a task's name says."""

    def __init__(self):
        self.requests = []
        self.running = 0
        self.most = 0
        self.cancelled = []
        self.metadata = {}  # of the last call by its task's id
        self.lock = threading.Lock()
        self.go = threading.Event()

    def calls(self, name=None):
        with self.lock:
            return [task for task in self.requests if name in (None, task.name)]

    def Handle(self, request, context):
        task = request.task
        with self.lock:
            self.requests.append(task)
            self.metadata[task.id] = dict(context.invocation_metadata())
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return getattr(self, "do_" + task.name)(task, context)
        finally:
            with self.lock:
                self.running -= 1

    def do_echo(self, task, context):
        return handler_pb2.HandleResponse(result=b"echo: " + task.payload)

    def do_nothing(self, task, context):
        return handler_pb2.HandleResponse()

    def do_fail(self, task, context):
        return handler_pb2.HandleResponse(failure={"error": "no, at attempt %d" % task.attempt})

    def do_fail_for_good(self, task, context):
        return handler_pb2.HandleResponse(failure={"error": "never", "for_good": True})

    def do_abort(self, task, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "\u00fc" * 2000)

    def do_raise(self, task, context):
        raise ValueError("a bug")

    def do_big(self, task, context):
        return handler_pb2.HandleResponse(result=b"x" * int(task.payload))

    def do_wait(self, task, context):
        while not self.go.wait(0.02):
            if not context.is_active():
                self.cancelled.append(task.id)
                break
        return handler_pb2.HandleResponse(result=b"waited")


class HandlerProcess:
    """The handler's server; it can go away and come back."""

    def __init__(self, handler, port):
        self.handler, self.port = handler, port
        self.start()

    def start(self):
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(64),
                                   options=[("grpc.so_reuseport", 0)])
        handler_grpc.add_TaskHandlerServicer_to_server(self.handler, self._server)
        if self._server.add_insecure_port(f"127.0.0.1:{self.port}") != self.port:
            raise AssertionError("the port is taken")
        self._server.start()

    def stop(self):
        self._server.stop(None).wait()


class GrpcPushTest(PushCase):
    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        super().setUpClass()

    @classmethod
    def targets(cls):
        return f"handler=grpc://127.0.0.1:{cls.port}"

    def setUp(self):
        super().setUp()
        self.handler = Handler()
        self.server = HandlerProcess(self.handler, self.port)
        self.addCleanup(self.server.stop)
        self.addCleanup(self.handler.go.set)

    def test_a_task_is_handed_over_whole_and_its_result_is_kept(self):
        self.route(target())
        task = self.create("echo", payload=b"\x00\xff", headers={"a": "b"}, priority=3)
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.result, done.attempt), (b"echo: \x00\xff", 1))
        [seen] = self.handler.calls()
        self.assertEqual((seen.id, seen.queue, seen.payload, dict(seen.headers), seen.priority),
                         (task.id, self.queue, b"\x00\xff", {"a": "b"}, 3))
        self.assertEqual((seen.state, seen.attempt), (RUNNING, 1))
        self.assertEqual(self.wait_for(self.create("nothing"), SUCCEEDED).result, b"")

    def test_a_call_belongs_to_the_trace_that_the_tasks_headers_name(self):
        self.route(target())
        trace = "0af7651916cd43dd8448eb211c80319c"
        task = self.create("nothing", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01",
                                               "tracestate": "vendor=1"})
        self.wait_for(task, SUCCEEDED)
        seen = self.handler.metadata[task.id]
        self.assertRegex(seen["traceparent"], f"^00-{trace}-(?!b7ad6b7169203331)[0-9a-f]{{16}}-01$")
        self.assertEqual(seen["tracestate"], "vendor=1")
        for headers in ({}, {"traceparent": f"00-{trace}-nonsense-01", "tracestate": "vendor=1"}):
            task = self.create("nothing", headers=headers)
            self.wait_for(task, SUCCEEDED)
            seen = self.handler.metadata[task.id]
            self.assertRegex(seen["traceparent"], f"^00-(?!{trace})[0-9a-f]{{32}}-[0-9a-f]{{16}}-00$")
            self.assertNotIn("tracestate", seen)

    def test_a_task_is_handed_over_when_it_is_due(self):
        self.route(target())
        self.wait_for(self.create("nothing"), SUCCEEDED)
        due = time.time() + 1.5
        task = self.create("nothing", run_time={"seconds": int(due),
                                                "nanos": int(due % 1 * 1e9) // 1000 * 1000})
        done = self.wait_for(task, SUCCEEDED)
        self.assertGreaterEqual(done.update_time.ToMicroseconds(), task.run_time.ToMicroseconds())

    def test_a_failure_is_tried_again_by_the_policy_and_one_for_good_is_not(self):
        self.route(target())
        task = self.create("fail", max_attempts=2)
        failed = harness.poll("it to fail", lambda: self.get(task)
                              if self.get(task).errors else None)
        self.assertEqual((failed.state, failed.last_error), (PENDING, "no, at attempt 1"))
        self.assertGreater(failed.run_time.ToMicroseconds(), failed.update_time.ToMicroseconds())
        self.retry_at_once(task)
        dead = self.wait_for(task, DEAD)
        self.assertEqual([error.text for error in dead.errors],
                         ["no, at attempt 1", "no, at attempt 2"])
        never = self.wait_for(self.create("fail_for_good"), DEAD)
        self.assertEqual((never.attempt, never.last_error), (1, "never"))

    def test_a_status_that_is_not_ok_is_a_failure_with_its_text(self):
        self.route(target())
        aborted = self.wait_for(self.create("abort", max_attempts=1), DEAD)
        text = "FAILED_PRECONDITION: " + "\u00fc" * 2000
        self.assertEqual(aborted.last_error, text[:1024])
        raised = self.wait_for(self.create("raise", max_attempts=1), DEAD)
        self.assertIn("a bug", raised.last_error)

    def test_a_handler_that_does_not_know_the_call_is_a_failure(self):
        self.server.stop()
        bare = grpc.server(concurrent.futures.ThreadPoolExecutor(1),
                           options=[("grpc.so_reuseport", 0)])
        self.assertEqual(bare.add_insecure_port(f"127.0.0.1:{self.port}"), self.port)
        bare.start()
        self.addCleanup(lambda: bare.stop(None).wait())
        self.route(target())
        dead = self.wait_for(self.create("echo", max_attempts=1), DEAD)
        self.assertIn("UNIMPLEMENTED", dead.last_error)
        self.server.start = lambda: None

    def test_a_result_has_256_kib_at_most(self):
        self.route(target())
        fits = self.create("big", payload=b"%d" % (256 * 1024))
        self.assertEqual(len(self.wait_for(fits, SUCCEEDED).result), 256 * 1024)
        too_large = self.wait_for(self.create("big", payload=b"%d" % (256 * 1024 + 1)), DEAD)
        self.assertIn("256 KiB", too_large.last_error)

    def test_a_call_that_takes_too_long_is_cancelled_and_fails(self):
        self.route(target(timeout=0.5))

        def handler_has_noticed():  # where the machine is slow, one call may not even get there in time
            dead = self.wait_for(self.create("wait", max_attempts=1), DEAD)
            self.assertIn("DEADLINE_EXCEEDED", dead.last_error)
            return self.handler.cancelled
        harness.poll("the handler to notice", handler_has_noticed)

    def test_a_long_call_keeps_its_lease(self):
        self.route(target(timeout=3600))
        task = self.create("wait")
        harness.poll("the call to begin", self.handler.calls)
        lease_until = self.get(task).lease_until.ToMicroseconds()
        harness.poll("the lease to be extended",
                     lambda: self.get(task).lease_until.ToMicroseconds() > lease_until)
        self.handler.go.set()
        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        self.assertEqual(len(self.handler.calls()), 1)

    def test_no_more_calls_than_allowed_are_under_way(self):
        self.route(target(max_calls=3))
        tasks = [self.create("wait") for _ in range(10)]
        harness.poll("three calls", lambda: len(self.handler.calls()) == 3)
        self.assertEqual(sum(self.get(task).state == PENDING for task in tasks), 7)
        self.handler.go.set()
        for task in tasks:
            self.wait_for(task, SUCCEEDED)
        self.assertEqual((self.handler.most, len(self.handler.calls())), (3, 10))

    def test_a_cancelled_task_cancels_its_call(self):
        self.route(target())
        task = self.create("wait")
        harness.poll("the call to begin", self.handler.calls)
        self.assertTrue(self.tasks.CancelTask(task_id=task.id).cancel_requested)
        self.wait_for(task, CANCELLED)
        harness.poll("the handler to notice", lambda: self.handler.cancelled == [task.id])

    def test_while_the_handler_is_down_tasks_stay_pending(self):
        self.route(target())
        self.wait_for(self.create("nothing"), SUCCEEDED)
        self.server.stop()
        tasks = [self.create("nothing") for _ in range(20)]
        harness.poll("the outage to be logged", self.outages)
        for task in tasks:
            now = self.get(task)
            self.assertEqual((now.state, now.attempt, now.last_error), (PENDING, 0, ""))
        self.server.start()
        for task in tasks:
            self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        self.assertEqual(len(self.handler.calls()), 21)
        self.assertEqual(len(self.outages()), 1)
        for line in self.outages():
            self.assertNotIn(str(self.port), line["error"])

    def test_a_handler_that_dies_costs_the_attempt(self):
        self.route(target())
        task = self.create("wait")
        harness.poll("the call to begin", self.handler.calls)
        self.server.stop()
        failed = harness.poll("the attempt to fail", lambda: self.get(task).last_error)
        self.assertRegex(failed, "UNAVAILABLE|CANCELLED|UNKNOWN")
        self.assertNotIn(str(self.port), failed)
        self.server.start()
        self.handler.go.set()
        self.retry_at_once(task)
        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 2)

    def test_several_schedulers_push_side_by_side_and_hand_out_each_task_once(self):
        other = self.start("schedulerd", env={"PARLEY_TARGETS": self.targets()})
        self.route(target())
        count = 500
        for i in range(count):
            (self.tasks, other.tasks)[i % 2].CreateTask(
                queue=self.queue, name="echo", payload=b"%d" % i,
                delay={"nanos": i % 7 * 10_000_000})
        done = "SELECT count(*) FROM task_history WHERE queue = %s AND state = 'succeeded'"
        harness.poll("all to be done", lambda: self.database.value(done, self.queue) == count)
        self.assertEqual(sorted(int(task.payload) for task in self.handler.calls()),
                         list(range(count)))

    def test_a_scheduler_that_ends_lets_calls_finish_within_its_grace(self):
        for grace, ends in (("60s", SUCCEEDED), ("1s", PENDING)):
            with self.subTest(grace=grace):
                queue = self.queue + grace
                service = harness.Service("schedulerd", self.database.url, "--drain-grace", grace,
                                          env={"PARLEY_TARGETS": self.targets()})
                self.addCleanup(self._release, service)
                self.handler.go.clear()
                before = len(self.handler.calls())
                # Only the one that will end pushes this queue.
                self.schedulerd.signal(19)
                try:
                    self.route(target(), queue, service)
                    task = service.tasks.CreateTask(queue=queue, name="wait")
                    harness.poll("the call", lambda b=before: len(self.handler.calls()) > b)
                    service.close()
                    service.signal(15)
                    harness.poll("it to drain", lambda s=service: any(
                        line["message"] == "drained" for line in s.log()))
                    if ends == SUCCEEDED:
                        self.handler.go.set()
                    self.assertEqual(service.wait(), 0)
                    self.database.rows("UPDATE queues SET target = NULL WHERE name = %s", queue)
                finally:
                    self.schedulerd.signal(18)
                now = self.get(task)
                self.assertEqual((now.state, now.attempt, now.last_error),
                                 (ends, int(ends == SUCCEEDED), ""))

    def test_a_killed_scheduler_loses_no_task(self):
        doomed = self.start("schedulerd", env={"PARLEY_TARGETS": self.targets()})
        self.route(target())
        tasks = [doomed.tasks.CreateTask(queue=self.queue, name="wait") for _ in range(20)]
        harness.poll("calls to begin", lambda: len(self.handler.calls()) >= 20)
        doomed.kill()
        self.handler.go.set()
        # The leases of the dead one's calls are as good as over.
        self.database.rows("UPDATE tasks SET lease_until = now() WHERE queue = %s", self.queue)
        for task in tasks:
            self.wait_for(task, SUCCEEDED)


if __name__ == "__main__":
    unittest.main()
