"""Every process is replaced, one after the other, and no caller with the published service config notices."""

import collections
import itertools
import signal
import threading
import time
import unittest

import grpc

import harness
from watch import Watch
from worker import Worker, key

REPLICAS = 2
CONFIGS = {"chatd": "chat", "messaged": "message", "schedulerd": "scheduler"}
# In operation 5 to 10 s, which is what balancers take; these callers are told by health at once.
FLAGS = ("--drain-delay", "1s", "--drain-grace", "20s")


class Load(threading.Thread):
    """Makes one call after the other, and keeps what it is told."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.answers, self.errors = [], []
        self._call = call
        self._over = threading.Event()
        self.start()

    def run(self):
        for number in itertools.count():
            if self._over.is_set():
                return
            try:
                self.answers.append(self._call(number))
            except grpc.RpcError as error:
                self.errors.append(f"{error.code()}: {error.details()}")
            self._over.wait(0.01)

    def stop(self):
        self._over.set()
        self.join(harness.PATIENCE)


class Laborers(threading.Thread):
    """A worker that goes where it is sent, and keeps the attempt with which each task was done."""

    def __init__(self, caller, queue):
        super().__init__(daemon=True)
        self.done = collections.defaultdict(list)  # task -> attempts
        self.streams = 0
        self.problem = None
        self._caller, self._queue = caller, queue
        self._over = threading.Event()
        self.start()

    def run(self):
        while not self._over.is_set():
            worker = Worker(self._caller, [self._queue], credit=10)
            self.streams += 1
            taken = 0
            while not worker.ended and not self._over.is_set():
                for lease in worker.told("leases")[taken:]:
                    taken += 1
                    self.done[lease.task.id].append(lease.task.attempt)
                    worker.tell(acks=[key(lease)], credit=1)
                if any(frame.drain for frame in worker.frames):
                    break
                time.sleep(0.01)
            error = worker.leave()
            if error is not None and error.code() is not grpc.StatusCode.UNAVAILABLE:
                self.problem = error
            time.sleep(0.05)

    def stop(self):
        self._over.set()
        self.join(harness.PATIENCE)


class RollingRestartTest(harness.SystemTest):
    def setUp(self):
        self.replicas = {name: [self.start(name, *FLAGS) for _ in range(REPLICAS)]
                         for name in CONFIGS}
        for name, client in ((n, c) for n, clients in harness.CLIENTS.items() for c in clients):
            setattr(self, client, harness.Client(self.channel(name), *harness.CLIENTS[name][client]))
        self.owner = self.users.CreateUser(login="owner", request_id="owner")
        self.chat = self.chats.CreateChat(creator_user_id=self.owner.id, title="a chat",
                                          chat_type="CHAT_TYPE_GROUP", request_id="chat")

    def channel(self, name):
        """What a caller has: the addresses and the published service config."""
        config = harness.ROOT / f"deploy/service_config/{CONFIGS[name]}.json"
        targets = ",".join(service.address for service in self.replicas[name])
        channel = grpc.insecure_channel(f"ipv4:{targets}", options=[
            ("grpc.service_config", config.read_text(encoding="utf-8")),
            ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def send(self, number):
        return self.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id,
                                         text=str(number), request_id=f"send-{number}").seq

    def create_task(self, number):
        return self.tasks.CreateTask(queue="rolling", name=str(number),
                                     request_id=f"task-{number}").id

    def replace(self, index):
        """One process of each service. (By this thread: what another has started ends with it.)"""
        leaving = {name: replicas[index] for name, replicas in self.replicas.items()}
        for old in leaving.values():
            old.close()
            old.signal(signal.SIGTERM)
        for name, old in leaving.items():
            self.assertEqual(old.wait(), 0)
            self.replicas[name][index] = self.start(name, *FLAGS, listen=old.address)
        # The next go only when callers have found these, as `minReadySeconds` has it.
        for name, replicas in self.replicas.items():
            harness.poll(f"{name} to be called", lambda new=replicas[index]: any(
                "grpc.code" in line for line in new.log()))

    def follow(self):
        """Resumes the watch, until the test is over."""
        while not self.over.is_set():
            watch = self.watched[-1]
            while watch.is_alive() and not self.over.wait(0.02):
                pass
            if not self.over.is_set():
                self.watched.append(
                    Watch(self, chat_ids=[self.chat.id], resume_token=watch.token))
        self.watched[-1].leave()

    def test_no_call_fails(self):
        # It begins before anything is sent.
        self.over, self.watched = threading.Event(), [Watch(self, chat_ids=[self.chat.id])]
        loads = {
            "users": Load(lambda _: self.users.GetUser(user_id=self.owner.id).id),
            "creates": Load(lambda n: self.users.CreateUser(login=f"u{n}", request_id=f"u{n}").id),
            "sends": Load(self.send),
            "reads": Load(lambda _: len(self.messages.ListMessages(chat_id=self.chat.id).messages)),
            "tasks": Load(self.create_task),
            "lists": Load(lambda _: len(self.tasks.ListTasks(queue="rolling").tasks)),
        }
        laborers = Laborers(self, "rolling")
        follower = threading.Thread(target=self.follow, daemon=True)
        follower.start()
        for index in range(REPLICAS):
            self.replace(index)
        for load in loads.values():
            load.stop()
        harness.poll("the tasks to be done", lambda: (
            laborers.problem or len(laborers.done) >= len(loads["tasks"].answers)))
        sent = len(loads["sends"].answers)
        harness.poll("the watch to see all", lambda: sum(
            len(watch.events) for watch in list(self.watched)) >= sent)
        laborers.stop()
        self.over.set()
        follower.join(harness.PATIENCE)
        print({name: len(load.answers) for name, load in loads.items()},
              f"streams of the worker: {laborers.streams}, watches: {len(self.watched)}", flush=True)

        for name, load in loads.items():
            self.assertEqual(load.errors, [], name)
        self.assertEqual(loads["sends"].answers, list(range(1, sent + 1)))
        seen = [message.seq for watch in self.watched for _, message in watch.events]
        self.assertEqual(seen, list(range(1, sent + 1)), "the watches have a gap, or a repeat")
        self.assertIsNone(laborers.problem)
        self.assertEqual(dict(laborers.done), {task: [1] for task in loads["tasks"].answers})


if __name__ == "__main__":
    unittest.main()
