"""A PostgreSQL of a test's own, which may be restarted and crashed."""

import os
import pathlib
import random
import shutil
import subprocess
import tempfile

LIBRARY = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "local" / "lib.sh"


class Cluster:
    """Durable (fsync is on), on loopback. `settings` are lines of postgresql.conf; the server runs with
    the variables of `env` too."""

    def __init__(self, *settings, env=None):
        self._env = os.environ | (env or {})
        self.directory = self._usable_directory()
        try:
            self._shell("cluster_create", self.directory)
            first = str(random.randint(20000, 28000))
            port = self._shell("free_port", first, "32000")
            self._shell("cluster_start", self.directory, port, *settings)
            self.url = self._shell("cluster_url", self.directory, port, "postgres", "postgres")
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

    def _shell(self, function, *arguments):
        """Runs a function of lib.sh; returns what it prints."""
        done = subprocess.run(
            ["bash", "-c", 'set -euo pipefail; source "$0"; "$@"', str(LIBRARY), function,
             *arguments], check=True, text=True, stdout=subprocess.PIPE, env=self._env)
        return done.stdout.strip()

    def crash(self):
        """Ends the server without a checkpoint, as a power cut would, and starts it again."""
        self._shell("cluster_crash", self.directory)

    def log(self):
        return self._shell("pg_run", "cat", self.directory + "/server.log")

    def remove(self):
        self._shell("cluster_stop", self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
