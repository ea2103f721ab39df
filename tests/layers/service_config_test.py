#!/usr/bin/python3
"""deploy/service_config/*.json against the contract: every method, and retries only where they are safe.

What is safe the contract says itself: a method whose comment has the words "Read only", and one whose
request carries a request_id, in itself or in the requests of a batch.
"""

import copy
import json
import pathlib
import re
import subprocess
import unittest

from google.protobuf import descriptor_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "deploy/service_config"

# File -> the services that its server offers.
SERVICES = {
    "chat": ("parley.chat.v1.ChatService", "parley.chat.v1.UserService"),
    "message": ("parley.message.v1.MessageService",),
    "scheduler": ("parley.scheduler.v1.SchedulerService", "parley.scheduler.v1.QueueService",
                  "parley.scheduler.v1.ScheduleService", "parley.scheduler.v1.WorkerService"),
}
# In no file, on purpose.
LEFT_OUT = {
    # It lasts as long as its worker, and what it has sent belongs to leases that end with it.
    "parley.scheduler.v1.WorkerService/Work",
}
# Offered by those who write handlers, not by Parley; schedulerd calls it.
NOT_OURS = {"parley.scheduler.v1.TaskHandler"}
# The server makes 60 s of anything longer (--max-deadline); its answer needs a moment too.
LONGEST = 65
SERVICE_FIELD, METHOD_FIELD = 6, 2  # the numbers of FileDescriptorProto.service and .method


class Contract:
    """What the .proto files say: methods -> whether they only read, and whether they carry a request_id."""

    def __init__(self):
        proto = ROOT / "proto"
        names = [str(path.relative_to(proto)) for path in sorted(proto.rglob("parley/**/*.proto"))]
        done = subprocess.run(
            ["protoc", f"-I{proto}", "--include_source_info", "--include_imports",
             "--descriptor_set_out=/dev/stdout", *names], check=True, stdout=subprocess.PIPE)
        files = descriptor_pb2.FileDescriptorSet.FromString(done.stdout).file
        self._messages = {f".{file.package}.{message.name}": message
                          for file in files for message in file.message_type}
        self.read_only, self.with_request_id, self.streams, self.services = set(), set(), set(), {}
        for file in files:
            comments = {tuple(location.path): location.leading_comments
                        for location in file.source_code_info.location}
            for s, service in enumerate(file.service):
                name = f"{file.package}.{service.name}"
                self.services[name] = [f"{name}/{method.name}" for method in service.method]
                for m, method in enumerate(service.method):
                    comment = comments.get((SERVICE_FIELD, s, METHOD_FIELD, m), "")
                    self._add(f"{name}/{method.name}", method, comment)

    def _add(self, name, method, comment):
        if re.search(r"\bRead\s+only\b", comment):
            self.read_only.add(name)
        if self._carries_request_id(method.input_type):
            self.with_request_id.add(name)
        if method.server_streaming or method.client_streaming:
            self.streams.add(name)

    def _carries_request_id(self, type_name):
        message = self._messages.get(type_name)
        if message is None:
            return False
        if any(field.name == "request_id" for field in message.field):
            return True
        repeated = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        return any(field.label == repeated and field.type_name
                   and self._carries_request_id(field.type_name) for field in message.field)


def seconds(text):
    return float(re.fullmatch(r"(\d+(?:\.\d+)?)s", text)[1])


def retry_complaints(method, policy, contract):
    if method not in contract.read_only | contract.with_request_id:
        yield f"{method} writes, carries no request_id, and is retried"
    if policy.get("retryableStatusCodes") != ["UNAVAILABLE"]:
        yield f"{method} is retried on more or less than UNAVAILABLE"
    if not 2 <= policy.get("maxAttempts", 0) <= 5:
        yield f"{method}: maxAttempts is not 2 to 5, which is all that gRPC allows"


def complaints(config, services, contract):
    """What is wrong with the configuration of a server that offers these services."""
    if config.get("loadBalancingConfig") != [{"round_robin": {}}]:
        yield "not round_robin, without which health is not asked for"
    if config.get("healthCheckConfig", {}).get("serviceName") not in services:
        yield "healthCheckConfig names no service of this server"
    if "retryThrottling" not in config:
        yield "no retryThrottling"
    expected = {method for service in services for method in contract.services[service]} - LEFT_OUT
    seen = set()
    for part in config["methodConfig"]:
        for name in part["name"]:
            method = f"{name['service']}/{name['method']}"
            if method not in expected:
                yield f"{method} is not a method of this server, or should be left out"
            if method in seen:
                yield f"{method} is there twice"
            seen.add(method)
            if method in contract.streams:
                if "timeout" in part:
                    yield f"{method} is a stream, and has a timeout"
            elif not 1 <= seconds(part.get("timeout", "0s")) <= LONGEST:
                yield f"{method}: no timeout, or one beyond the server's"
            if "retryPolicy" in part:
                yield from retry_complaints(method, part["retryPolicy"], contract)
            elif method in contract.read_only | contract.with_request_id:
                yield f"{method} could be retried, and is not"
    for method in sorted(expected - seen):
        yield f"{method} is missing"


class ServiceConfigTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.contract = Contract()
        cls.configs = {path.stem: json.loads(path.read_text(encoding="utf-8"))
                       for path in CONFIGS.glob("*.json")}

    def test_there_is_a_file_for_each_server_and_a_server_for_each_service(self):
        self.assertEqual(set(self.configs), set(SERVICES))
        offered = {service for services in SERVICES.values() for service in services}
        self.assertEqual(offered, set(self.contract.services) - NOT_OURS)

    def test_every_file_is_what_the_contract_allows(self):
        for name, config in self.configs.items():
            self.assertEqual(list(complaints(config, SERVICES[name], self.contract)), [], name)

    def test_each_mistake_is_found(self):
        def mistaken(change):
            config = copy.deepcopy(self.configs["message"])
            change(config)
            return list(complaints(config, SERVICES["message"], self.contract))

        def part_of(config, method):
            return next(part for part in config["methodConfig"]
                        if method in (name["method"] for name in part["name"]))

        def retry(**policy):
            def change(config):
                part_of(config, "MarkRead")["retryPolicy"] = (
                    part_of(config, "GetMessage")["retryPolicy"] | policy)
            return change

        for words, change in (
                ("carries no request_id", retry()),
                ("more or less than UNAVAILABLE", retry(retryableStatusCodes=["UNKNOWN"])),
                ("all that gRPC allows", retry(maxAttempts=6)),
                ("could be retried", lambda c: part_of(c, "SendMessage").pop("retryPolicy")),
                ("is a stream", lambda c: part_of(c, "WatchMessages").update(timeout="5s")),
                ("no timeout", lambda c: part_of(c, "MarkRead").pop("timeout")),
                ("beyond the server's", lambda c: part_of(c, "MarkRead").update(timeout="90s")),
                ("is missing", lambda c: part_of(c, "MarkRead")["name"].pop()),
                ("there twice", lambda c: part_of(c, "MarkRead")["name"].append(
                    part_of(c, "GetMessage")["name"][0])),
                ("not a method", lambda c: part_of(c, "MarkRead")["name"][0].update(method="Mark")),
                ("not round_robin", lambda c: c.pop("loadBalancingConfig")),
                ("no service of this server", lambda c: c["healthCheckConfig"].update(
                    serviceName="parley.chat.v1.ChatService")),
                ("no retryThrottling", lambda c: c.pop("retryThrottling"))):
            found = mistaken(change)
            self.assertTrue(any(words in complaint for complaint in found), f"{words}: {found}")


if __name__ == "__main__":
    unittest.main()
