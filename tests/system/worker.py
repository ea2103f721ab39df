"""What tests of workers and queues share: a worker on a Work stream, a queue of the test's own."""

import itertools
import queue
import threading

import grpc

import harness

PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED = range(1, 6)


class Worker(threading.Thread):
    """A worker on a stream. Keeps what it is told until somebody asks for it."""

    def __init__(self, service, queues, **first):
        super().__init__(daemon=True)
        self.request = harness.request_class(
            harness.descriptor("parley.scheduler.v1.worker_service", "WorkerService")
            .methods_by_name["Work"])
        self.frames, self.sent = [], queue.Queue()
        self.error = self.ended = None
        self.tell(hello={"queues": queues, **first.pop("hello", {})}, **first)
        self.call = service.workers.stream("Work", iter(self.sent.get, None))
        self.start()

    def run(self):
        try:
            for frame in self.call:
                self.frames.append(frame)
        except grpc.RpcError as error:
            self.error = error
        self.ended = True

    def tell(self, **fields):
        self.sent.put(self.request(**fields))

    def told(self, field):
        return list(itertools.chain.from_iterable(
            getattr(frame, field) for frame in list(self.frames)))

    def wait_for(self, field, count=1):
        harness.poll(f"{count} {field}", lambda: len(self.told(field)) >= count or self.ended)
        found = self.told(field)
        if len(found) < count:
            raise AssertionError(f"the stream ended with {self.error}, told only {found}")
        return found

    def leave(self):
        self.tell(goodbye=True)
        self.join(harness.PATIENCE)
        return self.error


def key(lease, **fields):
    return {"task_id": lease.task.id, "lease_token": lease.lease_token} | fields


class QueueCase(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def create_many(self, count, service=None, **fields):
        task = {"queue": self.queue, "name": "task"} | fields
        answer = (service or self.schedulerd).tasks.BatchCreateTasks(requests=[task] * count)
        return [result.task_id for result in answer.results]

    def worker(self, service=None, queues=None, **first):
        worker = Worker(service or self.schedulerd, queues or [self.queue], **first)
        self.addCleanup(worker.call.cancel)
        return worker

    def set_queue(self, service=None, **fields):
        return (service or self.schedulerd).queues.UpdateQueue(queue={"name": self.queue} | fields)

    def stats(self, queue=None):
        return self.queues.GetQueueStats(queue=queue or self.queue)
