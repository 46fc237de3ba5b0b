"""Keys that a project's callable returned, remembered by `kid`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from ..buckets import TokenBucket
from ..conf import conf
from ..exceptions import ServerBusy, TokenError
from ..loops import LoopLocal
from .threads import DatabaseThread

__all__ = ["Keyring", "aask_callable", "ask_callable"]

Source = Callable[[str | None], Any]
_Question = tuple[Source, str | None]

#: Seconds that "there is no such key" is remembered, and that the callable's failure is.
_NOBODYS_SECONDS = 10.0
_FAILURE_SECONDS = 1.0
#: Questions about unknown kids: anybody can invent them, and each may be a request to somewhere.
_UNKNOWN_PER_SECOND = 2.0
_UNKNOWN_BURST = 20
#: Answers that are kept. Beyond it the oldest go.
_MOST = 1000


class _Answer(NamedTuple):
    """What the callable returned, or the error that it raised, and until when that is good."""

    key: Any
    error: ImproperlyConfigured | None
    until: float


class Keyring:
    """Asks a callable once for each `kid`, as long as the answer is good.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[_Question, _Answer] = {}
        self._unknown = TokenBucket(_UNKNOWN_PER_SECOND, _UNKNOWN_BURST, clock)

    def known(self, source: Source, kid: str | None) -> _Answer | None:
        """Return the answer to a question if it is still good.

        Raises:
            ServerBusy: there is none, and there were too many questions about unknown kids.
        """
        if getattr(source, "remembers", False):
            return None  # `keys.from_url` does, and asks seldom
        answer = self._answers.get((source, kid))
        if answer is not None and self._clock() < answer.until:
            return answer
        if (answer is None or answer.key is None) and not self._unknown.take():
            raise ServerBusy(_UNKNOWN_BURST / _UNKNOWN_PER_SECOND)
        return None

    def ask(self, source: Source, kid: str | None) -> _Answer:
        """Call the callable, and remember what it says."""
        now, key, error = self._clock(), None, None
        try:
            key = source(kid)
        except Exception as reason:
            error = ImproperlyConfigured(f"BAZIS_WS_JWT_KEY failed: {reason!r}")
            error.__cause__ = reason
        seconds = conf.BAZIS_WS_JWT_KEY_SECONDS if key is not None else _NOBODYS_SECONDS
        answer = _Answer(key, error, now + (seconds if error is None else _FAILURE_SECONDS))
        if getattr(source, "remembers", False):
            return answer
        self._answers.pop((source, kid), None)
        self._answers[source, kid] = answer
        while len(self._answers) > _MOST:
            self._answers.pop(next(iter(self._answers)), None)
        return answer


class _Asking:
    """The questions under way on one event loop, and the thread in which they are asked."""

    def __init__(self) -> None:
        self._thread = DatabaseThread()
        self._tasks: dict[_Question, asyncio.Task[_Answer]] = {}

    async def ask(self, source: Source, kid: str | None) -> _Answer:
        """Ask; those who want to know the same share the question."""
        question = source, kid
        task = self._tasks.get(question)
        if task is None:
            answer = _keyring.known(source, kid)
            if answer is not None:
                return answer
            task = asyncio.create_task(self._thread.run(_keyring.ask, source, kid))
            self._tasks[question] = task
            task.add_done_callback(lambda _: self._tasks.pop(question, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the thread."""
        self._thread.close()


def ask_callable(source: Source, kid: str | None) -> Any:
    """Return the key of a `kid`.

    Raises:
        TokenError: there is none.
        ServerBusy: too many unknown kids were asked about.
        ImproperlyConfigured: the callable raised something.
    """
    return _key(_keyring.known(source, kid) or _keyring.ask(source, kid))


async def aask_callable(source: Source, kid: str | None) -> Any:
    """Async twin of `ask_callable`; the callable runs in a thread."""
    return _key(await _asking.get().ask(source, kid))


def _key(answer: _Answer) -> Any:
    if answer.error is not None:
        raise answer.error
    if answer.key is None:
        raise TokenError("invalid_token", "Invalid token", "there is no key for its kid")
    return answer.key


_keyring = Keyring()
_asking: LoopLocal[_Asking] = LoopLocal(_Asking, _Asking.close)
