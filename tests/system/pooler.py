"""PgBouncer before a cluster, as a private process on loopback."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import psycopg2.extensions

import harness


class PgBouncer:
    """`mode` is session or transaction; `size` is how many of the server's sessions it lends."""

    def __init__(self, url, mode, size):
        parts = psycopg2.extensions.parse_dsn(url)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = (f"postgresql://{parts['user']}:{parts['password']}@127.0.0.1:{self.port}"
                    f"/{parts['dbname']}?sslmode=disable")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="parley-pgbouncer-"))
        (self.directory / "users").write_text(f'"{parts["user"]}" "{parts["password"]}"\n')
        (self.directory / "pgbouncer.ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={parts["port"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {self.directory}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 300
server_login_retry = 0.2
""")
        as_user = []
        if os.geteuid() == 0:  # it refuses to be root
            as_user = ["-u", "postgres"]
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, "postgres")
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        with open(self.directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, "-q", *as_user,
                 self.directory / "pgbouncer.ini"], stdout=log, stderr=log)
        harness.poll("pgbouncer to listen", self._listens)

    def _listens(self):
        if self._process.poll() is not None:
            raise AssertionError((self.directory / "log").read_text())
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def close(self):
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory)
