"""What grpcurl and other strangers see: reflection, every method, JSON."""

import json
import re
import subprocess
import unittest

import grpc

import harness

# A method of each service, a request and something that the answer must say.
CALLS = {
    "parley.chat.v1.UserService/CreateUser": ({"login": "grpcurl"}, ("login", "grpcurl")),
    "parley.chat.v1.ChatService/CreateChat": (
        {"creatorUserId": "1", "title": "by JSON", "chatType": "CHAT_TYPE_GROUP"},
        ("user_count", 1)),
    "parley.message.v1.MessageService/SendMessage": (
        {"chatId": "1", "userId": "1", "text": "\u00e9 \U0001f339"}, ("seq", "1")),
    "parley.scheduler.v1.SchedulerService/CreateTask": (
        {"queue": "json", "name": "task", "localTime": {
            "dateTime": "2027-03-28T02:30:00", "timeZone": "Europe/Berlin"}},
        ("run_time", "2027-03-28T01:30:00Z")),
    "parley.scheduler.v1.WorkerService/LeaseTasks": (
        {"queues": ["another"], "waitFor": "0.1s"}, None),
    "parley.scheduler.v1.QueueService/CreateQueue": (
        {"queue": {"name": "json", "rateLimit": {"rate": 2.5}}},
        ("rate_limit", {"rate": 2.5, "burst": 3})),
    "parley.scheduler.v1.ScheduleService/PreviewSchedule": (
        {"spec": {"interval": {"every": "60s", "anchorTime": "2027-01-01T00:00:00Z"}},
         "afterTime": "2027-03-28T00:00:00Z", "limit": 1},
        ("fire_times", [{"fire_time": "2027-03-28T00:01:00Z",
                         "local_time": "2027-03-28T00:01:00+00:00",
                         "resolution": "LOCAL_TIME_RESOLUTION_UNIQUE"}])),
}


class ReflectionTest(harness.SystemTest):
    runs = ("chatd", "messaged", "schedulerd")

    def grpcurl(self, service, *arguments, data=None):
        with_data = ["-d", json.dumps(data)] if data is not None else []
        return subprocess.run([harness.setting("GRPCURL"), "-plaintext", *with_data,
                               service.address, *arguments],
                              capture_output=True, text=True, timeout=harness.PATIENCE)

    def services(self):
        """(running binary, descriptor of a service it offers)"""
        for binary, clients in harness.CLIENTS.items():
            for module, service in clients.values():
                yield getattr(self, binary), harness.descriptor(module, service)

    def binary_of(self, full_name):
        return next(binary for binary, service in self.services()
                    if service.full_name == full_name)

    def test_list_names_the_services_of_the_protos_and_no_others(self):
        for binary in (self.chatd, self.messaged, self.schedulerd):
            done = self.grpcurl(binary, "list")
            self.assertEqual(done.returncode, 0, done.stderr)
            expected = {service.full_name for other, service in self.services()
                        if other is binary}
            listed = {name for name in done.stdout.split() if not name.startswith("grpc.")}
            self.assertEqual(listed, expected)
            self.assertIn("grpc.health.v1.Health", done.stdout.split())

    def test_describe_shows_every_method_with_its_types(self):
        for binary, service in self.services():
            done = self.grpcurl(binary, "describe", service.full_name)
            self.assertEqual(done.returncode, 0, done.stderr)
            shown = set(re.findall(
                r"rpc (\w+) \( (?:stream )?\.([\w.]+) \) returns \( (?:stream )?\.([\w.]+) \)", done.stdout))
            self.assertEqual(shown, {(m.name, m.input_type.full_name, m.output_type.full_name)
                                     for m in service.methods})
            for method in service.methods:
                done = self.grpcurl(binary, "describe", method.input_type.full_name)
                self.assertEqual(done.returncode, 0, done.stderr)
                for field in method.input_type.fields:
                    self.assertRegex(done.stdout, rf"\b{field.name} = {field.number};")

    def test_a_call_against_each_service_speaks_json(self):
        self.assertEqual({call.split("/")[0] for call in CALLS},
                         {service.full_name for _, service in self.services()})
        for call, (request, expected) in CALLS.items():
            done = self.grpcurl(self.binary_of(call.split("/")[0]), call, data=request)
            self.assertEqual(done.returncode, 0, f"{call}: {done.stderr}")
            answer = json.loads(done.stdout)
            if expected:
                self.assertEqual(answer[expected[0]], expected[1], call)

    def test_an_error_is_readable(self):
        done = self.grpcurl(self.chatd, "parley.chat.v1.UserService/GetUser",
                            data={"userId": "424242"})
        self.assertNotEqual(done.returncode, 0)
        for word in ("NotFound", "USER_NOT_FOUND", "parley", "424242"):
            self.assertIn(word, done.stderr)

    def test_every_method_is_built(self):
        for binary, service in self.services():
            for method in service.methods:
                with self.subTest(method=method.full_name):
                    try:
                        binary.send_bytes(service.full_name, method.name, b"")
                    except grpc.RpcError as error:
                        failure = harness.Failure().read(error)
                        self.check_failure(failure, "INVALID_ARGUMENT", "INVALID_ARGUMENT")

    def test_what_is_not_in_the_protos_is_unimplemented(self):
        for binary, service in self.services():
            with self.assertRaises(grpc.RpcError) as caught:
                binary.send_bytes(service.full_name, "NoSuchMethod", b"")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    unittest.main()
