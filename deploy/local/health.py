#!/usr/bin/python3
"""Exits with 0 if every server given says SERVING for itself as a whole, within a timeout.

The health protocol's two messages are so small that they are written out here: the request for the
whole server is empty, and SERVING is field 1 with value 1.
"""

import argparse
import sys

import grpc

SERVING = b"\x08\x01"


def serving(address, timeout):
    """Returns None, or what is wrong."""
    # A proxy configured for the outside world has nothing to do with loopback.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = check(b"", timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return None if answer == SERVING else "not serving"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=5, help="seconds for each server")
    parser.add_argument("addresses", nargs="+", metavar="HOST:PORT")
    arguments = parser.parse_args()
    ready = True
    for address in arguments.addresses:
        problem = serving(address, arguments.timeout)
        if problem:
            print(f"{address}: {problem}", file=sys.stderr)
            ready = False
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
