"""Tabs of browsers: the real client.js under Node, many in one process."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

SCRIPT = Path(__file__).with_name("crowd.mjs")

is_installed = shutil.which("node") is not None


class Tab:
    """What one client has told.

    Attributes:
        got, missed, recovered: as a `Wanderer` of the replay's tests has them.
        away: seconds of each time without a session, but for the first.
        signing_in: seconds of the attempt that ended each of these times.
        codes: close codes that it met.
        presence: (user, is_online), as it was told.
        online: primary keys of the watched users who are online, as it knows.
    """

    def __init__(self, user, watched):
        self.user = user
        self.watched, self.online = {each.pk for each in watched}, set()
        self.got = defaultdict(list)
        self.replayed = self.missed = 0
        self.recovered, self.away, self.codes, self.errors, self.presence = [], [], [], [], []
        self.is_live, self._left_at = False, None
        self.signing_in, self._began_at = [], None
        self.live_since = 0.0

    @property
    def live_seconds(self):
        """How long it has been live."""
        return time.monotonic() - self.live_since if self.is_live else 0.0

    def take(self, at, what, *values):
        """Take one line."""
        getattr(self, f"_{what}")(at / 1000, *values)

    def _state(self, at, state, code):
        if self.is_live and state != "live":
            self._left_at = at
        if state == "connecting":
            self._began_at = at
        if state == "live" and self._left_at is not None:
            self.signing_in.append(at - self._began_at)
            self.away.append(at - self._left_at)
            self._left_at = None
        self.is_live = state == "live"
        self.live_since = time.monotonic()
        if code is not None:
            self.codes.append(code)

    def _data(self, at, stream, value, is_replayed):
        self.got[stream].append(value)
        self.replayed += is_replayed

    def _subscribed(self, at, recovered):
        if recovered is not None:
            self.recovered.append(recovered)

    def _missed(self, at, reason):
        self.missed += 1

    def _error(self, at, code):
        self.errors.append(code)

    def _presence(self, at, user, is_online):
        self.presence.append((user, is_online))
        (self.online.add if is_online else self.online.discard)(user)


class Tabs:
    """A process of tabs: ``with Tabs([(url, user, token, watched), ...])``.

    Args:
        certificate: file of a certificate to trust.
    """

    def __init__(self, clients, certificate=None):
        self.all = [Tab(user, watched) for _, user, _, watched in clients]
        self._config = [
            {"url": url, "token": token, "watch": [each.pk for each in watched]}
            for url, _, token, watched in clients
        ]
        trusted = {} if certificate is None else {"NODE_EXTRA_CA_CERTS": str(certificate)}
        self._env = {**os.environ, **trusted}

    def __enter__(self):
        self._file = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump(self._config, self._file)
        self._file.flush()
        self._process = subprocess.Popen(
            ["node", "--experimental-websocket", "--no-warnings", str(SCRIPT), self._file.name],
            env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *exc):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._process.stdout.close()
        self._file.close()

    @property
    def are_live(self):
        """Whether all of them have a session."""
        assert self._process.poll() is None, "node has ended"
        return all(tab.is_live for tab in self.all)

    @property
    def see_each_other(self):
        """Whether each of them knows that all whom it watches are online."""
        return all(tab.online == tab.watched for tab in self.all)

    def _read(self):
        for line in self._process.stdout:
            number, *rest = json.loads(line)
            self.all[number].take(*rest)
