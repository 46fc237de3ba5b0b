"""Clients that compare what they get with what was published, byte by byte.

Run by `test_burst.py`. Each line of standard input is an address with a token; then comes the
number of messages. All clients get the same frames in the same order, so that a client is a
position in one byte string: this costs nearly nothing, and the servers get the processor.
"""

import json
import selectors
import sys
import threading

from tests.kit.raw import TEXT, RawSocket, frame

#: Never set: waiting for it lets frames gather, as on the way to clients of other machines. Not
#: SO_RCVLOWAT: small frames fill the kernel's buffer before they reach the mark.
REST = threading.Event()


def connect(url):
    """Open a socket and wait for its session; return the bare socket."""
    client = RawSocket(url).subscribed()
    assert not client.buffer
    return client.socket


def compare(clients, expected):
    """Read until every client has everything, or the first difference."""
    selector = selectors.DefaultSelector()
    positions = dict.fromkeys(clients, 0)
    for client in clients:
        selector.register(client, selectors.EVENT_READ)
    complete = 0
    while complete < len(clients):
        REST.wait(0.005)
        ready = selector.select(timeout=30)
        if not ready:
            return f"silence; {complete} have everything, {min(positions.values())} bytes the least"
        for key, _ in ready:
            client = key.fileobj
            data, at = client.recv(1 << 18), positions[client]
            if not data or expected[at : at + len(data)] != data:
                return f"after {expected[max(0, at - 60) : at]!r} came {data[:200]!r}"
            positions[client] = at = at + len(data)
            complete += at == len(expected)
    return "complete"


def main():
    """Connect, say so, compare, say how it went."""
    *urls, count = sys.stdin.read().split()
    clients = [connect(url) for url in urls]
    print("connected", flush=True)
    messages = ({"type": "data", "data": {"n": n}} for n in range(int(count)))
    frames = (frame(TEXT, json.dumps(each).encode(), masked=False) for each in messages)
    print(compare(clients, b"".join(frames)), flush=True)


if __name__ == "__main__":
    main()
