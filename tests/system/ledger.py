"""The ledger of a storm, to which lines are only ever added, and what it proves."""

import collections
import json
import os
import uuid

CREDIT = 8  # how many leases a stream of a worker has at most


class Ledger:
    """A file of JSON lines that many processes append to; a line is written whole or not at all."""

    def __init__(self, path):
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, **entry):
        os.write(self._file, (json.dumps(entry) + "\n").encode())

    def entries(self):
        with open(self._path, encoding="ascii") as file:
            return [json.loads(line) for line in file]


class Account:
    """What the entries of a ledger say, and what is wrong about them in themselves."""

    def __init__(self, entries):
        self.attempts = collections.defaultdict(dict)  # (task, attempt) -> {token: crashes that were over before}
        self.acked = {}  # task -> token
        self.failed = []  # (task, token)
        self.problems = []
        self._begun = self._ended = 0  # crashes of the database
        self._streams = {}  # stream -> how many crashes were over at each of its last lines
        for entry in entries:
            getattr(self, "_" + entry["event"].replace(" ", "_"))(entry)

    def _crash_begins(self, _):
        self._begun += 1

    def _crash_ended(self, _):
        self._ended += 1

    def _stream(self, entry):
        self._streams[entry["stream"]] = collections.deque([self._ended], CREDIT)

    def _attempt(self, entry):
        """An attempt is handed out once. A crash of the database may make it forget leases, which it
        writes behind; such an attempt is handed out again after it, with another token."""
        tokens = self.attempts[entry["task"], entry["attempt"]]
        token = uuid.UUID(entry["token"])
        # The lease is younger than what its stream did so many lines ago.
        recent = self._streams[entry["stream"]]
        if token in tokens or any(ended >= self._begun for ended in tokens.values()):
            self.problems.append(f"handed out twice: {entry}")
        tokens[token] = recent[0]
        recent.append(self._ended)

    def _acked(self, entry):
        if entry["task"] in self.acked:
            self.problems.append(f"ended twice: {entry}")
        self.acked[entry["task"]] = uuid.UUID(entry["token"])

    def _failed(self, entry):
        self.failed.append((entry["task"], uuid.UUID(entry["token"])))
