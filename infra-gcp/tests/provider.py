#!/usr/bin/env python3
"""A stand-in for the Google provider that only has its schema: enough for `terraform validate` and, with `mock_provider`, for
`terraform test`. It does not connect to Google, and refuses to create resources.

Terraform starts it as a plugin (protocol 5). GOOGLE_SCHEMA names the file that schema.py wrote, GOOGLE_TYPES the types to offer,
separated by commas: all of them would be too large for a message. Encryption between the two must be off (TF_DISABLE_PLUGIN_TLS=1);
they use the loopback interface.

The messages are few and simple, so they are encoded by hand after the protocol's definition:
https://github.com/hashicorp/terraform/blob/main/docs/plugin-protocol/tfplugin5.proto
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc

NESTING = {"single": 1, "list": 2}


# --- Protocol buffers, as far as needed: a field is its number, its wire type and its content


def varint(number):
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def data(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def fields(message):
    """Numbers and contents of a message's length-delimited fields; other fields are skipped."""
    at = 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = read()
        if tag & 7 == 2:
            length = read()
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            read()


# --- The schema as messages


def attribute(name, spec):
    settable = spec.get("settable", True)
    return (
        data(1, name)
        + data(2, json.dumps(spec["type"]))
        + number(4, spec["required"])
        + number(5, settable and not spec["required"])
        + number(6, spec["computed"] and not spec["required"])
        + number(10, name.endswith("_wo"))
    )


def block(spec):
    encoded = b"".join(data(2, attribute(name, inner)) for name, inner in sorted(spec["attributes"].items()))
    for name, inner in sorted(spec["blocks"].items()):
        encoded += data(3, data(1, name) + data(2, block(inner)) + number(3, NESTING[inner["nesting"]]) + number(4, inner["min"]) + number(5, inner["max"]))
    return encoded


def schema(spec):
    return data(2, block(spec))


def whole_schema():
    with open(os.environ["GOOGLE_SCHEMA"], encoding="utf-8") as file:
        known = json.load(file)
    wanted = os.environ["GOOGLE_TYPES"].split(",")
    encoded = data(1, schema(known["provider"]))
    for field, kind in ((2, "resource"), (3, "data")):
        for name in wanted:
            if name in known[kind]:
                encoded += data(field, data(1, name) + data(2, schema(known[kind][name])))
    return encoded


# --- The calls


def valid(_request):
    return b""


def same_settings(request):
    """Returns the provider's settings unchanged, as the prepared ones."""
    return b"".join(data(1, content) for field, content in fields(request) if field == 1)


def serve():
    ended = Event()

    def shut_down(_request):
        ended.set()
        return b""

    calls = {
        "/tfplugin5.Provider/GetSchema": lambda _request: whole_schema(),
        "/tfplugin5.Provider/PrepareProviderConfig": same_settings,
        "/tfplugin5.Provider/ValidateResourceTypeConfig": valid,
        "/tfplugin5.Provider/ValidateDataSourceConfig": valid,
        "/tfplugin5.Provider/Configure": valid,
        "/tfplugin5.Provider/Stop": valid,
        "/plugin.GRPCController/Shutdown": shut_down,
    }

    class Calls(grpc.GenericRpcHandler):
        def service(self, details):
            call = calls.get(details.method)
            return call and grpc.unary_unary_rpc_method_handler(lambda request, _context: call(request))

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Calls()], options=[("grpc.max_send_message_length", -1)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"1|5|tcp|127.0.0.1:{port}|grpc", flush=True)
    ended.wait()
    server.stop(None)


if __name__ == "__main__":
    if "TF_PLUGIN_MAGIC_COOKIE" not in os.environ:
        sys.exit("this is a plugin: Terraform starts it")
    serve()
