"""Clients that mean no good, or are broken: after each of them the service serves as before.

Memory and descriptors are compared with what they were; the limits are many times what a healthy run
needs, and far below what a leak per connection, call or stream would come to.
"""

import os
import random
import socket
import struct
import time
import unittest

import grpc

import harness
import raw_http2
from programs import IS_SANITIZED

LIST = "/parley.message.v1.MessageService/ListMessages"
WATCH = "/parley.message.v1.MessageService/WatchMessages"
INVALID, UNIMPLEMENTED = "3", "12"
WATCHES = 5000
# The service may open more of them meanwhile.
DATABASE_CONNECTIONS = 20
# A sanitizer keeps what is freed, and gives nothing back.
MEGABYTES = 2000 if IS_SANITIZED else 100


class HostileTest(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def setUp(self):
        self.owner = self.new_user()
        self.chat = self.new_chat(self.owner)
        self.text = "x" * 1024
        for _ in range(3):
            self.messages.BatchSendMessages(requests=[
                {"chat_id": self.chat.id, "user_id": self.owner.id, "text": self.text}] * 100)
        self.pid = self.messaged.process.pid
        self.assert_serves()
        self.descriptors, self.memory = self.count_descriptors(), self.resident()

    def tearDown(self):
        self.assert_serves()
        harness.poll("the descriptors to be given back",
                     lambda: self.count_descriptors() <= self.descriptors + DATABASE_CONNECTIONS)
        self.assertLess(self.resident() - self.memory, MEGABYTES)

    def assert_serves(self):
        """What an honest caller of its own connection gets, at once or nearly."""
        began = time.monotonic()
        channel = self.messaged.new_channel()
        client = harness.Client(channel, *harness.CLIENTS["messaged"]["messages"])
        self.assertEqual(len(client.ListMessages(chat_id=self.chat.id).messages), 20)
        channel.close()
        self.assertEqual(self.messaged.health_of(""), "SERVING")
        return time.monotonic() - began

    def count_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self):
        """Megabytes."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

    def request(self, **fields):
        method = harness.descriptor(*harness.CLIENTS["messaged"]["messages"]).methods_by_name
        return harness.request_class(method["ListMessages"])(
            chat_id=self.chat.id, **fields).SerializeToString()

    def raw(self, **options):
        connection = raw_http2.Connection(self.messaged.address, **options)
        self.addCleanup(connection.socket.close)
        return connection

    def test_bytes_that_are_no_http2(self):
        dice = random.Random(7)
        for sent in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\x02\0",
                     raw_http2.PREFACE[:10], raw_http2.PREFACE + b"\xff" * 100,
                     raw_http2.PREFACE + b"\0\0\0\x04\0\0\0\0\0" + b"\xff\xff\xff\x01\x05\0\0\0\1",
                     *(dice.randbytes(dice.randrange(1, 3000)) for _ in range(50)),
                     *(raw_http2.PREFACE + dice.randbytes(500) for _ in range(50))):
            with raw_http2.connect(self.messaged.address) as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionError:
                    pass

    def test_connections_that_say_nothing(self):
        silent = [raw_http2.connect(self.messaged.address) for _ in range(400)]
        half = [self.raw() for _ in range(100)]
        for connection in half:
            connection.begin(LIST, raw_http2.framed(self.request())[:4], end=False)
            connection.flush()
        self.assert_serves()
        for connection in silent:
            # A reset, as of a host that has gone.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        for connection in half:
            connection.socket.close()

    def test_calls_that_are_reset_at_once(self):
        for _ in range(5):
            with self.raw() as connection:
                for number in range(2000):
                    stream = connection.begin(LIST, raw_http2.framed(self.request(limit=200)))
                    connection.reset(stream)
                    if number % 100 == 99:
                        try:
                            connection.flush()
                        except ConnectionError:
                            break  # the server has had enough, which is its right
                self.assert_serves()

    def test_metadata_without_measure(self):
        # Half a megabyte may cost the connection, too.
        for size, expected in ((6000, ["OK"]), (10000, ["RESOURCE_EXHAUSTED"]),
                               (500000, ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])):
            headers = [(f"x-{i}", "y" * 1000) for i in range(size // 1000)]
            channel = self.messaged.new_channel()
            self.addCleanup(channel.close)
            client = harness.Client(channel, *harness.CLIENTS["messaged"]["messages"])
            with self.subTest(size):
                self.assertIn(self.code_of(client.bearing(headers=headers)), expected)

    def code_of(self, messages):
        try:
            messages.ListMessages(chat_id=self.chat.id)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def test_messages_that_are_none(self):
        good = self.request()
        for data in (raw_http2.framed(b"\xff\xff\xff"), raw_http2.framed(good, compressed=7),
                     raw_http2.framed(good, length=10), raw_http2.framed(good, length=2**32 - 1),
                     raw_http2.framed(b"", length=5 << 20), b"", b"\0\0"):
            with self.subTest(data[:8]), self.raw() as connection:
                stream = connection.begin(LIST, data)
                connection.flush()
                self.assertEqual(connection.status_of(stream), INVALID)

    def test_methods_that_are_none(self):
        for path in ("/", "//", "", "/parley.message.v1.MessageService/", "/a/b",
                     "/../ListMessages", LIST + "/more", "/" + "x" * 3000):
            with self.subTest(path), self.raw() as connection:
                stream = connection.begin(path, raw_http2.framed(b""))
                connection.flush()
                self.assertIn(connection.status_of(stream), (UNIMPLEMENTED, None))

    def test_callers_that_do_not_read(self):
        """Each asks for pages of 200 KiB and takes none of them."""
        connections = [self.raw(window=0) for _ in range(20)]
        for connection in connections:
            for _ in range(50):
                connection.begin(LIST, raw_http2.framed(self.request(limit=200)))
            connection.flush()
        for _ in range(5):
            self.assert_serves()
        # What waits for them is what they have asked for, and no more.
        self.assertLess(self.resident() - self.memory, 1000 * 0.25 + MEGABYTES)
        for connection in connections:
            connection.socket.close()

    def test_ten_thousand_streams(self):
        count, each = 10000, 100
        watch = harness.request_class(harness.descriptor(
            *harness.CLIENTS["messaged"]["messages"]).methods_by_name["WatchMessages"])(
                chat_ids=[self.chat.id]).SerializeToString()
        connections = [self.raw() for _ in range(count // each)]
        for connection in connections:
            for _ in range(each):
                connection.begin(WATCH, raw_http2.framed(watch))
            connection.flush()

        def ended():
            return [line["grpc.code"] for line in self.messaged.log()
                    if line.get("grpc.method") == "WatchMessages"]

        # A server has so many watches; the others are told at once.
        harness.poll("the others to be refused", lambda: len(ended()) == count - WATCHES)
        self.assertEqual(set(ended()), {"RESOURCE_EXHAUSTED"})
        # They go on while others send and read.
        self.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id, text="to all")
        self.assert_serves()
        self.assertLess(self.resident() - self.memory, 3 * MEGABYTES)
        for connection in connections:
            connection.socket.close()
        harness.poll("all streams to have ended", lambda: len(ended()) == count)

    def test_a_message_that_is_too_large(self):
        channel = grpc.insecure_channel(self.messaged.address,
                                        options=[("grpc.max_send_message_length", -1)])
        self.addCleanup(channel.close)
        client = harness.Client(channel, *harness.CLIENTS["messaged"]["messages"])
        with self.assertRaises(grpc.RpcError) as raised:
            client.SendMessage(chat_id=self.chat.id, user_id=self.owner.id, text="x" * (5 << 20))
        self.assertEqual(raised.exception.code().name, "RESOURCE_EXHAUSTED")


if __name__ == "__main__":
    unittest.main()
