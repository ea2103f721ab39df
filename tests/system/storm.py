"""What storms are made of: processes that are killed and replaced, callers that do not give up."""

import collections
import itertools
import os
import random
import time

import grpc

import harness

SECONDS = float(os.environ.get("PARLEY_TEST_SECONDS", "25"))
# What may be answered while a storm goes on; every call is repeated then.
PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"}


def seed():
    """That of PARLEY_TEST_SEED, or a new one; it is printed, so that the run can be repeated."""
    chosen = os.environ.get("PARLEY_TEST_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"PARLEY_TEST_SEED={chosen}", flush=True)
    return chosen


def disturb(chooser, seconds, kinds):
    """Kills something every second or so: calls the (name, function) of `kinds` in turn. Returns how
    often it did what."""
    counts = collections.Counter()
    kinds = itertools.cycle(kinds)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(chooser.uniform(0.5, 1.5))
        name, kill = next(kinds)
        counts[name] += 1
        kill()
    return counts


class Processes:
    """The processes of one service; killed ones are replaced."""

    def __init__(self, test, name, count, url):
        self._test, self._name, self._url = test, name, url
        self.running = [self._start() for _ in range(count)]

    def _start(self):
        return self._test.start(self._name, url=self._url)

    def kill_one(self, chooser):
        index = chooser.randrange(len(self.running))
        self.running[index].kill()
        self.running[index] = self._start()

    def kill_all(self, database):
        """Afterwards nothing that was asked for before can still be written."""
        for service in self.running:
            service.kill()
        harness.poll("the last statements to end", lambda: not database.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
            "parley-" + self._name))
        self.running = [self._start() for _ in self.running]


class Caller:
    """Repeats each call until it is answered, and counts what it was told until then."""

    def __init__(self):
        self.passing = collections.Counter()

    def until_answered(self, call):
        """Any but a passing failure is one of the test."""
        deadline = time.monotonic() + harness.PATIENCE
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                code = error.code().name
                if code not in PASSING or time.monotonic() > deadline:
                    raise AssertionError(f"{code}: {error.details()}") from error
                self.passing[code] += 1
                time.sleep(0.01)

    def passes(self, status):
        """Counts a passing failure inside the answer to a batch; any other is one of the test."""
        code = next(c.name for c in grpc.StatusCode if c.value[0] == status.code)
        if code not in PASSING:
            raise AssertionError(status)
        self.passing[code] += 1
