"""A worker of the storm: a thread of the test, or this file run as a process of its own that may be
killed in the middle of its work.

It writes into a ledger each attempt before it works on it, and what the service has confirmed.
"""

import os
import queue
import random
import signal
import sys
import threading
import time
import uuid

import grpc

from ledger import CREDIT, Ledger
from parley.scheduler.v1 import worker_service_pb2, worker_service_pb2_grpc

# Reasons with which a task is not the worker's any more.
GONE = {b"LEASE_LOST", b"TASK_NOT_FOUND"}


class Laborer:
    """Works on one stream after the other, at any of the servers that the file `addresses` names."""

    def __init__(self, addresses, ledger, queues, seed):
        self._addresses, self._ledger, self._queues = addresses, ledger, queues
        self._random = random.Random(seed)
        self._call = self._stream = None
        self._over = threading.Event()

    def stop(self):
        self._over.set()
        if self._call is not None:
            self._call.cancel()

    def run(self):
        while not self._over.is_set():
            with open(self._addresses, encoding="ascii") as file:
                address = self._random.choice(file.read().split())
            with grpc.insecure_channel(address, options=[
                    ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]) as channel:
                try:
                    self._work(channel)
                except grpc.RpcError:  # its server is dead, or its database
                    time.sleep(0.05)

    def _work(self, channel):
        told = queue.Queue()
        self._stream = uuid.uuid4().hex
        self._ledger.write(event="stream", stream=self._stream)
        held = {}  # task id -> the answer that the service has not confirmed yet
        hello = {"queues": self._queues, "lease_duration": {"seconds": 3}}
        told.put(worker_service_pb2.WorkRequest(hello=hello, credit=CREDIT))
        self._call = worker_service_pb2_grpc.WorkerServiceStub(channel).Work(iter(told.get, None))
        try:
            for frame in self._call:
                for task_id in frame.settled_task_ids:
                    self._confirmed(held.pop(task_id))
                for error in frame.errors:
                    if any(reason in error.status.SerializeToString() for reason in GONE):
                        del held[error.task_id]
                    else:
                        held[error.task_id].credit = 0  # it has been granted
                        told.put(held[error.task_id])
                for lease in frame.leases:
                    # A lease ran out while its answer waited; which one is confirmed next, nobody can
                    # tell. Another stream starts without them.
                    if lease.task.id in held:
                        self._call.cancel()
                        return
                    held[lease.task.id] = self._work_on(lease)
                    told.put(held[lease.task.id])
        finally:
            told.put(None)

    def _work_on(self, lease):
        """Does what the task asks for; returns the answer to it."""
        task = lease.task
        self._ledger.write(event="attempt", task=task.id, attempt=task.attempt,
                           token=lease.lease_token, stream=self._stream)
        if task.payload == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._random.uniform(0, 0.01))
        key = {"task_id": task.id, "lease_token": lease.lease_token}
        if task.payload == b"fail" or (task.payload == b"fail twice" and task.attempt <= 2):
            return worker_service_pb2.WorkRequest(fails=[key | {"error": "as asked"}], credit=1)
        return worker_service_pb2.WorkRequest(acks=[key], credit=1)

    def _confirmed(self, answer):
        for event, keys in (("acked", answer.acks), ("failed", answer.fails)):
            for key in keys:
                self._ledger.write(event=event, task=key.task_id, token=key.lease_token)


if __name__ == "__main__":
    Laborer(sys.argv[1], Ledger(sys.argv[2]), sys.argv[4:], sys.argv[3]).run()
