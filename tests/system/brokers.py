"""Celery's world: Redis and RabbitMQ as private processes on loopback, and real workers."""

import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import kombu
import redis

from programs import PATIENCE

HERE = pathlib.Path(__file__).resolve().parent
# setpriv ends what it starts when the test is killed.
LEASHED = ["setpriv", "--pdeathsig", "KILL"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """A server with a directory of its own, which can be killed and started again."""

    def __init__(self, name):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"parley-{name}-"))
        self.port = free_port()
        self.process = None

    def launch(self, command, env=None):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*LEASHED, *command], stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, cwd=self.directory, env=env)

    def wait_for(self, what, probe, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not probe():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}:\n{self.log()[-4000:]}")
            time.sleep(0.02)

    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    def kill(self):
        """SIGKILL, as a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Redis(Process):
    """redis-server that keeps what it has answered for, and asks for a password."""

    PASSWORD = "redis-secret-4b1d"

    def __init__(self):
        super().__init__("redis")
        self.start()

    def start(self):
        self.launch(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                     "--dir", str(self.directory), "--save", "", "--appendonly", "yes",
                     "--appendfsync", "always", "--requirepass", self.PASSWORD])
        self.wait_for("redis-server", self._answers)

    def _answers(self):
        try:
            return self.client().ping()
        except redis.exceptions.RedisError:
            return False

    def url(self, database=0):
        return f"redis://:{self.PASSWORD}@127.0.0.1:{self.port}/{database}"

    def client(self, database=0):
        return redis.Redis(port=self.port, db=database, password=self.PASSWORD,
                           decode_responses=True)


class AnswerThief:
    """A road to a server on which answers get lost: what was asked for has been done all the same."""

    def __init__(self, port):
        self._server_port = port
        self._word, self._left = b"", 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def steal(self, word, times):
        """Breaks the connection in place of the answers to the next requests that hold the word."""
        self._word, self._left = word.encode(), times

    def stolen_all(self):
        return self._left == 0

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            stealing = False
            while True:
                for source in select.select([client, server], [], [])[0]:
                    try:
                        data = source.recv(1 << 20)
                    except OSError:
                        return
                    if not data or (source is server and stealing):
                        return
                    if source is client and self._left > 0 and self._word in data:
                        stealing = True
                        self._left -= 1
                    (server if source is client else client).sendall(data)


class RabbitMq(Process):
    """rabbitmq-server, with an epmd of its own. Its start takes ten seconds and more."""

    USER, PASSWORD, VHOST = "parley", "rabbit:secret/9c2e", "app"

    def __init__(self):
        super().__init__("rabbitmq")
        self._epmd_port, dist_port = free_port(), free_port()
        permission = {"user": self.USER, "vhost": self.VHOST, "configure": ".*", "write": ".*",
                      "read": ".*"}
        (self.directory / "definitions.json").write_text(json.dumps({
            "users": [{"name": self.USER, "password": self.PASSWORD, "tags": ""}],
            "vhosts": [{"name": self.VHOST}], "permissions": [permission]}))
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"load_definitions = {self.directory}/definitions.json\n"
            "log.file = false\nlog.console = true\nlog.console.level = warning\n")
        (self.directory / "enabled_plugins").write_text("[].\n")
        self._env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LC_ALL": "C.UTF-8",
                     "ERL_EPMD_PORT": str(self._epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
                     "RABBITMQ_NODENAME": f"parley{self.port}@localhost",
                     "RABBITMQ_DIST_PORT": str(dist_port),
                     "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
                     "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
                     "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
                     "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
                     "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                     "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                         "-kernel inet_dist_use_interface {127,0,0,1}",
                     # Otherwise a shell stays in front of it, which a SIGKILL would hit instead.
                     "RUNNING_UNDER_SYSTEMD": "true"}
        self._epmd = subprocess.Popen(
            [*LEASHED, "epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.start()

    def start(self, wait=True):
        self.launch(["/usr/lib/rabbitmq/bin/rabbitmq-server"], env=self._env)
        if wait:
            self.wait_until_open()

    def wait_until_open(self):
        self.wait_for("rabbitmq-server", self.accepts, 2 * PATIENCE)

    def run_low(self, is_low):
        """Of memory, as far as it can tell. As an operator does."""
        subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--node", self._env["RABBITMQ_NODENAME"],
             "set_vm_memory_high_watermark", "0.0001" if is_low else "0.9"],
            env=self._env, cwd=self.directory, check=True, capture_output=True, timeout=2 * PATIENCE)

    def accepts(self):
        """Its port is open long before it has recovered its queues; then it takes no client yet."""
        if not is_open(self.port):
            return False
        client = kombu.Connection(self.url(), connect_timeout=PATIENCE)
        try:
            client.connect()
        except client.connection_errors + client.channel_errors:
            return False
        finally:
            client.release()
        return True

    def url(self):
        password = self.PASSWORD.replace(":", "%3A").replace("/", "%2F")
        return f"amqp://{self.USER}:{password}@127.0.0.1:{self.port}/{self.VHOST}"

    def close(self):
        super().close()
        self._epmd.kill()
        self._epmd.wait()


class CeleryWorker:
    """A worker of the application in celery_app.py, and the notes that its tasks make."""

    def __init__(self, broker, backend=None, *options, queue="celery", transport=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="parley-celery-"))
        self.notes_file = self.directory / "notes"
        self._command = [*LEASHED, "/usr/bin/python3", "-B", "-m", "celery", "-A", "celery_app",
                         "worker", "-Q", queue, "-P", "solo", "-l", "info", "--without-gossip",
                         "--without-mingle", "--without-heartbeat", *options]
        self._env = {**os.environ, "PYTHONPATH": str(HERE), "CELERY_APP_BROKER": broker,
                     "CELERY_APP_BACKEND": backend or "", "CELERY_APP_NOTES": str(self.notes_file),
                     "CELERY_APP_TRANSPORT": json.dumps(transport or {})}
        self.process = None
        self._forgotten = 0  # bytes of the log
        self.start()

    def start(self):
        self._forgotten = 0
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, cwd=self.directory, start_new_session=True)
        deadline = time.monotonic() + PATIENCE
        while " ready." not in self.log():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the worker does not start:\n{self.log()}")
            time.sleep(0.05)

    def log(self):
        text = (self.directory / "log").read_bytes()
        return text[self._forgotten:].decode(errors="replace")

    def forget(self):
        """Begins anew with notes, log and letting go: for the next test, when nothing is left to do."""
        self._forgotten = (self.directory / "log").stat().st_size
        self.notes_file.unlink(missing_ok=True)
        (self.directory / "go").unlink(missing_ok=True)

    def notes(self, what="ran"):
        """What tasks have noted, in order: dicts."""
        if not self.notes_file.exists():
            return []
        lines = self.notes_file.read_text().splitlines()
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def received(self):
        """The ids of all messages that the worker has taken."""
        return set(re.findall(r"Task \S+\[([0-9a-f-]{36})\] received", self.log()))

    def let_go(self):
        """Lets tasks go on that wait for it (celery_app.wait)."""
        (self.directory / "go").touch()

    def revoke(self, task_id):
        """As an operator does."""
        subprocess.run([*self._command[:self._command.index("worker")], "control", "revoke", task_id],
                       env=self._env, cwd=self.directory, check=True, capture_output=True,
                       timeout=PATIENCE)

    def kill(self):
        """SIGKILL to the worker and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
