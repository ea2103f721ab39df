"""HTTP/2 by hand: what no gRPC library would send."""

import socket
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from programs import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), PATIENCE)


def framed(message, compressed=0, length=None):
    """A gRPC message as it goes into DATA frames."""
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


class Connection:
    """One connection. Nothing is read unless asked for."""

    def __init__(self, address, window=None):
        self.socket = connect(address)
        self._address = address
        self.error = None  # the code with which the server has hung up
        self._state = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False,
                                      normalize_outbound_headers=False))
        self._state.initiate_connection()
        if window is not None:
            self._state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self._state.data_to_send())

    def begin(self, method, data=None, end=True, headers=()):
        """Starts a call of /package.Service/Method; returns its stream. Not sent before flush."""
        stream = self._state.get_next_available_stream_id()
        self._state.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":path", method),
            (":authority", self._address), ("content-type", "application/grpc"),
            ("te", "trailers"), *headers])
        if data is not None:
            self._state.send_data(stream, data, end_stream=end)
        return stream

    def bounds(self):
        """How many streams the server allows, and how large it takes headers."""
        for event in self.events():
            if isinstance(event, h2.events.RemoteSettingsChanged):
                break
        settings = self._state.remote_settings
        return settings.max_concurrent_streams, settings.max_header_list_size

    def ping(self):
        """Asks whether the server is there; returns whether it still wants to be asked."""
        try:
            self._state.ping(b"8 bytes.")
            self.flush()
        except (ConnectionError, h2.exceptions.ProtocolError):  # it has hung up
            pass
        return any(isinstance(event, h2.events.PingAckReceived) for event in self.events())

    def reset(self, stream):
        self._state.reset_stream(stream)

    def events(self):
        """What the server has sent, as it comes, until it hangs up. One that is silent fails."""
        while True:
            try:
                received = self.socket.recv(65536)
            except ConnectionError:
                return
            if not received:
                return
            try:
                events = self._state.receive_data(received)
            except h2.exceptions.ProtocolError:
                return
            for event in events:
                if isinstance(event, h2.events.ConnectionTerminated):
                    self.error = event.error_code
            yield from events
            self.flush()

    def status_of(self, stream):
        """The grpc-status that a call ends with, as text; None if it ends without one."""
        for event in self.events():
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                if event.stream_id == stream:
                    fields = {(name if isinstance(name, str) else name.decode()):
                              (value if isinstance(value, str) else value.decode())
                              for name, value in event.headers}
                    if "grpc-status" in fields:
                        return fields["grpc-status"]
            if (isinstance(event, (h2.events.StreamReset, h2.events.StreamEnded))
                    and event.stream_id == stream):
                return None
        return None
