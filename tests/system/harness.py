"""What the system tests stand on: a database, the real binaries, clients over real sockets.

The environment says where things are:
  PARLEY_TEST_DATABASE_URL  a superuser's URL of a PostgreSQL that may be filled with databases
  PARLEY_BIN_DIR            the directory of parley-chatd and the others
  GRPCURL                   the grpcurl program
"""

import atexit
import concurrent.futures
import contextlib
import importlib
import itertools
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc
from google.protobuf import symbol_database

from database import Database
from programs import PATIENCE, binary, environment, run_binary, setting

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INSIDES = r"(?i)\b(select|insert into|sqlstate|soci|libpq|relation|constraint)\b"

# Binary -> name of the client -> generated module and service.
CLIENTS = {
    "chatd": {
        "users": ("parley.chat.v1.user_service", "UserService"),
        "chats": ("parley.chat.v1.chat_service", "ChatService"),
    },
    "messaged": {"messages": ("parley.message.v1.message_service", "MessageService")},
    "schedulerd": {
        "tasks": ("parley.scheduler.v1.scheduler_service", "SchedulerService"),
        "schedules": ("parley.scheduler.v1.schedule_service", "ScheduleService"),
        "workers": ("parley.scheduler.v1.worker_service", "WorkerService"),
        "queues": ("parley.scheduler.v1.queue_service", "QueueService"),
    },
}


def generate_stubs():
    directory = tempfile.mkdtemp(prefix="parley-stubs-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    proto = ROOT / "proto"
    files = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    subprocess.run(
        ["protoc", f"-I{proto}", f"-I{HERE}", f"--python_out={directory}",
         f"--grpc_python_out={directory}",
         "--plugin=protoc-gen-grpc_python=" + shutil.which("grpc_python_plugin"),
         *files, "health.proto"],
        check=True)
    sys.path.insert(0, directory)


generate_stubs()
error_details_pb2 = importlib.import_module("google.rpc.error_details_pb2")
status_pb2 = importlib.import_module("google.rpc.status_pb2")
health_pb2 = importlib.import_module("health_pb2")


def descriptor(module, service):
    """The descriptor of a service, for tests that go through all methods."""
    return importlib.import_module(module + "_pb2").DESCRIPTOR.services_by_name[service]


def request_class(method):
    """The class of a method's requests."""
    return symbol_database.Default().GetPrototype(method.input_type)


def poll(what, probe, seconds=PATIENCE):
    """Asks `probe` until its answer is true, and returns the answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(0.02)


def in_threads(count, work):
    """Runs work(0) ... work(count - 1) at the same time and returns what they return."""
    barrier = threading.Barrier(count)

    def run(index):
        barrier.wait()
        return work(index)

    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        return list(executor.map(run, range(count)))


class Client:
    """The calls of one service: client.GetUser(user_id=1) sends a GetUserRequest."""

    def __init__(self, channel, module, service, headers=()):
        self._made_of = channel, module, service
        self._headers = headers
        self._stub = getattr(importlib.import_module(module + "_pb2_grpc"), service + "Stub")(
            channel)
        self._methods = descriptor(module, service).methods_by_name

    def __getattr__(self, method):
        return lambda timeout=PATIENCE, **fields: getattr(self._stub, method)(
            self._request(method, fields), timeout=timeout, metadata=self._headers)

    def bearing(self, token=None, headers=()):
        """The same with a bearer token, or other headers, in every call."""
        if token is not None:
            headers = [("authorization", "Bearer " + token)]
        return Client(*self._made_of, headers=headers)

    def begin(self, method, timeout=PATIENCE, **fields):
        """Starts a call and returns its future."""
        call = getattr(self._stub, method)
        if self._methods[method].server_streaming:
            return call(self._request(method, fields), timeout=timeout, metadata=self._headers)
        return call.future(self._request(method, fields), timeout=timeout, metadata=self._headers)

    def stream(self, method, requests):
        """Starts a call that streams both ways; returns it, to be iterated."""
        return getattr(self._stub, method)(requests, metadata=self._headers)

    def _request(self, method, fields):
        return request_class(self._methods[method])(**fields)


class Service:
    """A running service, with a client for each gRPC service it offers."""

    def __init__(self, name, url, *flags, env=None, wait=True, listen="127.0.0.1:0",
                 channel_credentials=None):
        self.name = name
        self._channel_credentials = channel_credentials  # none: plain text
        self.lines = []
        self.address = None
        # setpriv ends the service when the test is killed.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", binary(name), "--listen", listen, *flags],
            env=environment(url, {"PARLEY_DRAIN_DELAY": "0s"} | (env or {})),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            self.wait_until_serving()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def log(self):
        """The log so far, one dict a line."""
        return [json.loads(line) for line in list(self.lines)]

    def _listening(self):
        if self.process.poll() is not None:
            self._reader.join()
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n"
                                 + "\n".join(self.lines))
        for line in list(self.lines):
            if '"listening"' in line:
                return json.loads(line)["address"]
        return None

    def wait_until_serving(self):
        self.address = poll(f"{self.name} to listen", self._listening)
        self.channel = self.new_channel()
        for client, (module, service) in CLIENTS[self.name].items():
            setattr(self, client, Client(self.channel, module, service))
        self.health = Client(self.channel, "health", "Health")
        poll(f"{self.name} to be SERVING", lambda: self.health_of("") == "SERVING")

    def new_channel(self, credentials=None):
        """A connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0),
                   ("grpc.enable_retries", 0)]
        credentials = credentials or self._channel_credentials
        if credentials:
            return grpc.secure_channel(self.address, credentials, options)
        return grpc.insecure_channel(self.address, options)

    def health_of(self, service):
        status = self.health.Check(service=service).status
        return health_pb2.HealthCheckResponse.ServingStatus.Name(status)

    def send_bytes(self, service, method, request):
        """Calls a method with bytes that need not be a valid request; returns the reply's bytes."""
        return self.channel.unary_unary(f"/{service}/{method}")(request, timeout=PATIENCE)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Waits for the end; returns the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        self.process.stdout.close()
        return code

    def stop(self):
        """Ends the service as an operator does; returns the exit code."""
        self.close()
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self):
        """Hangs up, so that the service need not wait until this idle client has noticed."""
        if self.address:
            self.channel.close()

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def release(self):
        """Ends the service if it still runs, and says what was wrong about its end."""
        self.close()
        if self.process.returncode is not None:
            return None
        code = self.stop()
        return None if code == 0 else f"{self.name}: exit code {code}\n" + "\n".join(self.lines)


class Failure:
    """An error as a caller sees it."""

    def read(self, error):
        self.code = error.code().name
        self.text = error.details()
        self.trailers = dict(error.trailing_metadata() or ())
        self.trailer = self.trailers.get("grpc-status-details-bin", b"")
        return self.read_status(status_pb2.Status.FromString(self.trailer))

    def read_status(self, status):
        """What came as a trailer, or inside the answer to a batch."""
        self.status = status
        info, bad, retry, quota = (
            error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure())
        for detail in self.status.details:
            if not any(detail.Unpack(target) for target in (info, bad, retry, quota)):
                raise AssertionError(f"unknown detail {detail.type_url}")
        self.reason, self.domain, self.metadata = info.reason, info.domain, dict(info.metadata)
        self.fields = [violation.field for violation in bad.field_violations]
        self.retry_delay = retry.retry_delay.ToTimedelta().total_seconds()
        self.quotas = [violation.subject for violation in quota.violations]
        return self

    def names(self, field):
        """Whether a violation is about the field or something in it."""
        return any(re.match(re.escape(field) + r"($|[.\[])", name) for name in self.fields)


class SystemTest(unittest.TestCase):
    """A class of tests with a database and the services in `runs`, shared by its tests."""

    runs = ()
    migrated = True
    # Whether nobody but the services changes tasks: at the end their counters are what counting says.
    counts = True

    @classmethod
    def setUpClass(cls):
        cls.database = cls.new_database()
        cls.addClassCleanup(cls.database.drop)
        if cls.migrated and cls.counts:
            cls.addClassCleanup(cls._check_counters)
        for name in cls.runs:
            service = Service(name, cls.database.url)
            cls.addClassCleanup(cls._release, service)
            setattr(cls, name, service)
            for client in CLIENTS[name]:
                setattr(cls, client, getattr(service, client))

    @classmethod
    def new_database(cls):
        """A class that needs another one overrides this."""
        return Database(cls.__name__.lower(), cls.migrated)

    @classmethod
    def _check_counters(cls):
        columns = "pending", "running", "dead", "succeeded", "cancelled", "expired"
        counted = cls.database.rows(
            "SELECT queue, " + ", ".join(f"count(*) FILTER (WHERE state = '{c}')" for c in columns)
            + " FROM all_tasks GROUP BY queue")
        said = [row for row in cls.database.rows(
            "SELECT queue, " + ", ".join(f"sum({c})::bigint" for c in columns)
            + " FROM queue_counters GROUP BY queue") if any(row[1:])]
        if sorted(counted) != sorted(said):
            raise AssertionError(f"counters say {set(said) - set(counted)},"
                                 f" tables {set(counted) - set(said)}")

    @staticmethod
    def _release(service):
        complaint = service.release()
        if complaint:
            raise AssertionError(complaint)

    def start(self, name, *flags, url=None, **options):
        """Starts a service that ends with the test."""
        service = Service(name, url or self.database.url, *flags, **options)
        self.addCleanup(self._release, service)
        return service

    @contextlib.contextmanager
    def assert_error(self, code, reason=None, field=None):
        """The body must fail so; `field` is one that a violation must name."""
        failure = Failure()
        try:
            yield failure
        except grpc.RpcError as error:
            failure.read(error)
        else:
            self.fail(f"expected {code} {reason or ''}, the call succeeded")
        self.check_failure(failure, code, reason, field)

    def check_failure(self, failure, code, reason=None, field=None):
        shown = f"{failure.code} {failure.reason} {failure.fields}: {failure.text}"
        self.assertEqual(failure.code, code, shown)
        self.assertEqual(failure.domain, "parley", shown)
        self.assertRegex(failure.reason, "^[A-Z][A-Z0-9_]{0,62}$", shown)
        self.assertEqual(failure.status.message, failure.text, shown)
        self.assertEqual(grpc.StatusCode[code].value[0], failure.status.code, shown)
        self.assertNotRegex(failure.text, INSIDES, "the insides show")
        if reason:
            self.assertEqual(failure.reason, reason, shown)
        if code == "INVALID_ARGUMENT":
            self.assertTrue(failure.fields, "no violations: " + shown)
        if field:
            self.assertTrue(failure.names(field), f"{field} is not named: {shown}")

    def all_pages(self, method, items, **request):
        """Follows the page tokens to the end; returns the pages."""
        pages, token = [], ""
        while True:
            reply = method(page_token=token, **request)
            pages.append(list(getattr(reply, items)))
            token = reply.next_page_token
            if not token:
                return pages
            self.assertLess(len(pages), 1000, "the pages do not end")


class People:
    """Makes users and chats; a class that runs chatd mixes it in."""

    _numbers = itertools.count(1)

    @classmethod
    def new_user(cls, **fields):
        fields.setdefault("login", f"user-{next(cls._numbers)}")
        return cls.users.CreateUser(**fields)

    @classmethod
    def new_chat(cls, creator, members=(), **fields):
        fields = {"title": "a chat", "chat_type": "CHAT_TYPE_GROUP"} | fields
        return cls.chats.CreateChat(
            creator_user_id=creator.id, user_ids=[member.id for member in members], **fields)

    @classmethod
    def block(cls, user):
        return cls.users.UpdateUser(user={"id": user.id, "status": "USER_STATUS_BLOCKED"})
