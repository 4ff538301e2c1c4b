#!/usr/bin/env python3
"""Terraform's AWS provider without the thousand resources that infra-aws does not use: a run of `terraform test` takes seconds.

    python trimmed.py PROVIDER FOLDER      prints TF_REATTACH_PROVIDERS for Terraform, then serves until it is ended

Starts the provider, answers GetSchema with a part of its answer, and passes every other call on to it. The part has the types that
FOLDER/*.tf name. Terraform reads the whole schema several times in a run, which takes longer than all of its other work.
https://github.com/hashicorp/terraform/blob/main/docs/plugin-protocol/tfplugin5.proto
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

COOKIE = {"TF_PLUGIN_MAGIC_COOKIE": "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2", "PLUGIN_PROTOCOL_VERSIONS": "5"}
GET_SCHEMA = "/tfplugin5.Provider/GetSchema"
# In the answer to GetSchema: maps by name, as messages of a key (1) and a value (2). Functions are all left.
RESOURCES, DATA_SOURCES, EPHEMERAL_RESOURCES = 2, 3, 8
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(message):
    """Number, content and the encoded whole of each length-delimited field; the answer has no others."""
    at = 0
    while at < len(message):
        begin = at
        tag, at = varint(message, at)
        if tag & 7 != 2:
            raise ValueError(f"field {tag >> 3} of GetSchema's answer has wire type {tag & 7}")
        length, at = varint(message, at)
        yield tag >> 3, message[at : at + length], message[begin : at + length]
        at += length


def trimmed(answer, wanted):
    """Returns the answer with only the wanted resources, data sources and ephemeral resources."""
    kept = []
    for number, content, whole in fields(answer):
        if number in (RESOURCES, DATA_SOURCES, EPHEMERAL_RESOURCES):
            key = next(inner for field, inner, _ in fields(content) if field == 1)
            if key.decode() not in wanted:
                continue
        kept.append(whole)
    return b"".join(kept)


def start(provider):
    """The provider's process, and a channel to it."""
    process = subprocess.Popen([provider], env=os.environ | COOKIE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    handshake = process.stdout.readline().strip().split("|")
    if len(handshake) < 5 or handshake[1] != "5" or handshake[4] != "grpc":
        sys.exit(f"{provider} is no provider of protocol 5: {handshake}")
    network, address = handshake[2:4]
    return process, grpc.insecure_channel(f"unix:{address}" if network == "unix" else address, options=UNLIMITED)


def main():
    provider, folder = sys.argv[1:]
    # A planted mistake may add a resource of a type that the configuration does not have.
    wanted = {"aws_network_acl"} | set(re.findall(r'"(aws_[a-z0-9_]+)"', "".join(path.read_text() for path in pathlib.Path(folder).glob("*.tf"))))
    process, channel = start(provider)
    schema = trimmed(channel.unary_unary(GET_SCHEMA)(b""), wanted)

    class Calls(grpc.GenericRpcHandler):
        def service(self, details):
            method = details.method
            if method.startswith("/plugin.GRPC"):  # Terraform's own: its end is not the provider's
                return None
            answer = (lambda _: schema) if method == GET_SCHEMA else channel.unary_unary(method)
            return grpc.unary_unary_rpc_method_handler(lambda request, _context: answer(request))

    server = grpc.server(ThreadPoolExecutor(8), handlers=[Calls()], options=UNLIMITED)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    attach = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
    print(json.dumps({"registry.terraform.io/hashicorp/aws": attach}), flush=True)
    try:
        process.wait()
    finally:
        process.kill()


if __name__ == "__main__":
    main()
