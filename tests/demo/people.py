"""People who use the demo from outside: over HTTP, and over a socket."""

import json
import urllib.error
import urllib.request

from tests.kit import PATIENCE_SECONDS, SyncClient


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


class Socket(SyncClient):
    """A user's socket: ``with Socket(server, token) as socket``; live once entered."""

    def __init__(self, server, token):
        super().__init__(server.ws, subprotocols=["bazis-ws", token])

    def __enter__(self):
        super().__enter__()
        try:
            self.greeting = self.subscribed()
        except BaseException:
            self.__exit__()
            raise
        return self
