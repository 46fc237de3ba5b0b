"""People who use the demo from outside: over HTTP, and over a socket."""

import contextlib
import json
import time
import urllib.error
import urllib.request

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

#: No claim about speed: the end of a test that would wait for ever.
PATIENCE_SECONDS = 20


def call(server, path, body=None, token=None, *, raw=None, headers=()):
    """Return the status and the JSON of an API call: GET, or POST where there is a body."""
    request = urllib.request.Request(f"{server.http}/api/v1/{path}")
    if body is not None or raw is not None:
        request.data = raw if raw is not None else json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    for name, value in dict(headers).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def token_of(server, name, password="demo"):
    """Sign in over HTTP."""
    status, answer = call(server, "token/", {"username": name, "password": password})
    assert status == 200, answer
    return answer["token"]


def id_of(server, name, token):
    """Return a user's id."""
    _, document = call(server, "users/user/", token=token)
    found = {each["attributes"]["username"]: int(each["id"]) for each in document["data"]}
    return found[name]


def until(condition, seconds=PATIENCE_SECONDS):
    """Return `condition()` as soon as it is true."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.05)
    return result


class Socket:
    """A user's socket: ``with Socket(server, token) as socket``; live once entered."""

    def __init__(self, server, token):
        self.server, self.token = server, token

    def __enter__(self):
        offered = ["bazis-ws", self.token]
        self._socket = connect(self.server.ws, subprotocols=offered).__enter__()
        self.subscribed = self.receive("subscribed")
        return self

    def __exit__(self, *exc):
        self._socket.__exit__(*exc)

    def send(self, message):
        self._socket.send(json.dumps(message))

    def receive(self, kind):
        """Return the next message of a type."""
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_SECONDS))
            if message["type"] == kind:
                return message

    def data(self):
        """Return the next published value."""
        return self.receive("data")["data"]

    def settled(self):
        """Return the values that were on their way, by a ping behind them."""
        self.send({"type": "ping"})
        values = []
        while (message := json.loads(self._socket.recv(timeout=PATIENCE_SECONDS)))[
            "type"
        ] != "pong":
            if message["type"] == "data":
                values.append(message["data"])
        return values

    def close_code(self):
        """Wait until the server closes."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._socket.recv(timeout=PATIENCE_SECONDS)
        return self._socket.close_code
