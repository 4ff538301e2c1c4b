"""Prints free ports of the loopback interface, in the number of the argument.

The range is below that of connections' own ports, one of which could take a port before its program listens.
"""

import random
import socket
import sys

sockets = []
while len(sockets) < int(sys.argv[1]):
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", random.randrange(10000, 30000)))
    except OSError:
        continue
    sockets.append(listener)

print(*[listener.getsockname()[1] for listener in sockets])
