"""A PostgreSQL of a test's own, which may be stopped, crashed, copied to a standby and promoted."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile

import psycopg2.extensions

LIBRARY = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "local" / "lib.sh"


class Cluster:
    """Durable (fsync is on), on loopback. `settings` are lines of postgresql.conf; the server runs with
    the variables of `env` too. With `origin`, another Cluster, it is that one's streaming standby."""

    def __init__(self, *settings, env=None, origin=None):
        self._env = os.environ | (env or {})
        self._settings = settings
        self.directory = self._usable_directory()
        try:
            if origin is None:
                self._shell("cluster_create", self.directory)
            else:
                self._copy(origin)
            first = str(random.randint(20000, 28000))
            self.port = self._shell("free_port", first, "32000")
            self.start()
            self.url = self._shell("cluster_url", self.directory, self.port, "postgres", "postgres")
        except BaseException:
            self.remove()
            raise

    def _usable_directory(self):
        """One that the server's user can reach, which TMPDIR may not be."""
        for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
            directory = tempfile.mkdtemp(prefix="parley-chaos-", dir=base)
            try:
                self._shell("cluster_dir_usable", directory)
                return directory
            except subprocess.CalledProcessError:
                os.rmdir(directory)
        raise AssertionError("there is no place for a cluster")

    def _copy(self, origin):
        self._shell("pg_run", "cp", origin.directory + "/password", self.directory + "/password")
        self._run("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "-d", origin.url)

    def _shell(self, function, *arguments):
        """Runs a function of lib.sh; returns what it prints."""
        done = subprocess.run(
            ["bash", "-c", 'set -euo pipefail; source "$0"; "$@"', str(LIBRARY), function,
             *arguments], check=True, text=True, stdout=subprocess.PIPE, env=self._env)
        return done.stdout.strip()

    def _run(self, program, *arguments):
        """Runs a program of PostgreSQL's on the data directory. A server that it starts must not keep
        a pipe of ours."""
        subprocess.run(
            ["bash", "-c", 'set -euo pipefail; source "$0"; pg_run "$(pg_bindir)/$1" -D "$2/data" "${@:3}"',
             str(LIBRARY), program, self.directory, *arguments],
            check=True, stdout=subprocess.DEVNULL, env=self._env)

    def start(self):
        self._shell("cluster_start", self.directory, self.port, *self._settings)

    def stop(self, mode="fast"):
        """`immediate` is as hard as a power cut."""
        self._run("pg_ctl", "-m", mode, "-w", "-t", "60", "stop")

    def restart(self):
        self._run("pg_ctl", "-l", self.directory + "/server.log", "-m", "fast", "-w", "-t", "60", "restart")

    def crash(self):
        """Ends the server without a checkpoint, as a power cut would, and starts it again."""
        self._shell("cluster_crash", self.directory)

    def kill_postmaster(self):
        """Its children end by themselves when they notice."""
        with open(self.directory + "/data/postmaster.pid", encoding="ascii") as file:
            os.kill(int(file.readline()), signal.SIGKILL)

    def promote(self):
        """Makes a primary of a standby; returns when it takes writes."""
        self._run("pg_ctl", "-w", "-t", "60", "promote")

    def log(self):
        return self._shell("pg_run", "cat", self.directory + "/server.log")

    def remove(self):
        self._shell("cluster_stop", self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)


def either(url, *clusters):
    """The URL of a database that is on whichever of the clusters takes writes."""
    parts = psycopg2.extensions.parse_dsn(url)
    hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
    return (f"postgresql://{parts['user']}:{parts['password']}@{hosts}/{parts['dbname']}"
            "?sslmode=disable&target_session_attrs=read-write")
