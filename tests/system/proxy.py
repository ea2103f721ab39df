"""Roads to servers that can be cut, blocked and opened again, and lose answers."""

import socket
import threading

import psycopg2.extensions


class Road:
    """Forwards connections on a port of its own to a server; a host "/..." is where its socket is."""

    def __init__(self, host, port):
        self._host, self._server_port = host, port
        self._flowing = threading.Event()
        self._flowing.set()
        self._answers_lost = False
        self._lock = threading.Lock()
        self._sockets = []
        self._silenced = set()  # those to the server whose answers are lost, for good
        self._listener = None
        self.port = 0
        self.accepted = 0  # connections so far
        self.open()

    def open(self):
        """Accepts connections, and lets bytes through."""
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self):
        """Ends all connections and refuses new ones, as a stopped server does."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop()

    def drop(self):
        """Ends all connections; new ones are welcome, and lose nothing."""
        with self._lock:
            self._answers_lost = False
            sockets, self._sockets = self._sockets, []
        for connection in sockets:
            self._end(connection)
        self._flowing.set()

    def block(self):
        """Keeps all connections and lets nothing through, as a hanging server does."""
        self._flowing.clear()

    def lose_answers(self):
        """Loses what the server says, until the connections are ended."""
        with self._lock:
            self._answers_lost = True
            self._silenced.update(self._sockets[1::2])

    def _connect(self):
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._server_port))
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(f"{self._host}/.s.PGSQL.{self._server_port}")
        return upstream

    def _accept(self, listener):
        while True:
            try:
                downstream, _ = listener.accept()
            except OSError:
                return
            upstream = self._connect()
            self.accepted += 1
            with self._lock:
                self._sockets += [downstream, upstream]
                if self._answers_lost:
                    self._silenced.add(upstream)
            for source, target in ((downstream, upstream), (upstream, downstream)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source, target):
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                self._forward(source, target, data)
        except OSError:
            pass
        self._end(source)
        self._end(target)
        source.close()  # the target is the other thread's source

    def _forward(self, source, target, data):
        if source not in self._silenced:
            target.sendall(data)

    @staticmethod
    def _end(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Proxy(Road):
    """The road to the database of `url`.

    `password` is what its own URL carries: that of `url`, or one made up where none is asked for.
    """

    def __init__(self, url):
        parts = psycopg2.extensions.parse_dsn(url)
        super().__init__(parts.get("host", "/var/run/postgresql"), int(parts.get("port", 5432)))
        self.password = parts.get("password", "dsn-secret-81f7")
        user = parts.get("user", "postgres")
        self.url = (f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{parts['dbname']}"
                    "?sslmode=disable&gssencmode=disable")
