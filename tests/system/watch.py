"""A watch of messages that keeps what it is shown."""

import threading
import time

import grpc

import harness


class Watch(threading.Thread):
    """Watches from a token on and keeps what it is shown, until the stream ends."""

    def __init__(self, service, **request):
        super().__init__(daemon=True)
        request.setdefault("heartbeat_interval", {"seconds": 1})
        self.call = service.messages.WatchMessages(timeout=None, **request)
        self.token = request.get("resume_token", "")
        self.frames = []  # the events of each
        self.events = []  # (kind, message)
        self.times = {}  # seq of a sent message -> when it was shown
        self.error = None
        self.start()
        if not self.token:
            harness.poll("the first frame", lambda: self.token or self.error)

    def run(self):
        try:
            for frame in self.call:
                now = time.monotonic()
                for event in frame.events:
                    kind = event.WhichOneof("event")
                    message = getattr(event, kind)
                    if kind == "sent":
                        self.times[message.seq] = now
                    self.events.append((kind, message))
                self.frames.append(list(frame.events))
                self.token = frame.resume_token
        except grpc.RpcError as error:
            self.error = error

    def texts(self):
        return [message.text for _, message in list(self.events)]

    def wait_for(self, count):
        harness.poll(f"{count} events", lambda: len(self.events) >= count or self.error)

    def leave(self):
        self.call.cancel()
        self.join()
