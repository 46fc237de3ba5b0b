"""Sign-ins of one event loop: in order, many in one query, and no more than can be served soon."""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.views.decorators.debug import sensitive_variables

from ..buckets import TokenBucket
from ..conf import conf
from ..exceptions import ServerBusy
from ..loops import LoopLocal
from . import tokens
from .anonymous import aanonymous_identity, is_anonymous
from .django_sessions import Cookie
from .identity import Answers, Identity, identify_all
from .threads import DatabaseThread

__all__ = ["Arrivals", "aauthenticate", "current_arrivals"]

#: Sign-ins that share a query.
_BATCH = 500
#: How long a batch waits for more, while somebody comes in each turn of the event loop: a query for
#: eight costs hardly more than one for four.
_GATHER_SECONDS = 0.005
#: Sign-ins that go on before the event loop gets a turn.
_ANSWERS_A_TURN = 25
#: Threads, and with them database connections. A second one helps where the database is slow.
_THREADS = 4
#: Seconds that one query may take before another thread serves those who came meanwhile.
_SLOW_SECONDS = 0.1
#: Seconds within which a sign-in must be served, or it is refused at once.
_SOON_SECONDS = 5.0
#: The longest time after which those are told to come back, before jitter: nobody knows how long a
#: database will hang, and a client obeys.
_LATEST_SECONDS = 30.0
#: Sign-ins that may wait, however fast they are served: each holds a socket.
_MOST_WAITING = 10_000

Wanted = tokens.Claims | Cookie
Serve = Callable[[Sequence[Wanted]], Answers]


@dataclass(slots=True)
class _Arrival:
    """Somebody whose token is good, or who has a Django session, and waits to hear whose it is."""

    wanted: Wanted
    answer: asyncio.Future[Identity | None]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


@dataclass(slots=True)
class _Desk:
    """A thread that serves.

    Attributes:
        since: when its present batch began; None if it is free.
    """

    thread: DatabaseThread = field(default_factory=DatabaseThread)
    since: float | None = None


class Arrivals:
    """The queue in front of the database.

    One thread serves all who came while it was busy with those before, by one query. More threads
    help out when that takes long, or when a whole batch waits. A cancelled call has left the
    queue. What can't be served soon is refused at once, with an honest time to come back.

    Args:
        serve: returns whose each of some claims is, or what is wrong; called in a thread.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        serve: Serve = identify_all,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serve = serve
        self._clock = clock
        self._waiting: deque[_Arrival] = deque()
        self._desks = [_Desk() for _ in range(_THREADS)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._batch_seconds = 0.0
        rate = conf.BAZIS_WS_HANDSHAKES_PER_SECOND
        self._handshakes = TokenBucket(rate, max(1.0, rate), clock)

    def count_handshake(self) -> None:
        """Count a handshake.

        Raises:
            ServerBusy: too many came within the last second.
        """
        if not self._handshakes.take():
            raise ServerBusy(_jittered(2.0))

    async def identify(self, claims: tokens.Claims, *, is_known: bool = False) -> Identity:
        """Return whose claims these are, when it is their turn. Raises what `find` does."""
        identity = await self.find(claims, is_known=is_known)
        assert identity is not None  # noqa: S101 - else it is an error
        return identity

    async def find(self, wanted: Wanted, *, is_known: bool = False) -> Identity | None:
        """Return whose claims, or whose Django session this is, when it is their turn; None for a
        session of nobody's.

        Args:
            is_known: whoever it is has a session already, and is never refused for others.

        Raises:
            AuthenticationFailed: ``user_not_found``.
            ServerBusy: too many wait already.
            django.db.Error: the database is out of reach.
        """
        wait = self.expected_seconds
        if not is_known and (wait > _SOON_SECONDS or len(self._waiting) >= _MOST_WAITING):
            raise ServerBusy(_jittered(min(max(wait, 1.0), _LATEST_SECONDS)))
        answer: asyncio.Future[Identity | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Arrival(wanted, answer))
        self._open_desk()
        return await answer

    async def close(self) -> None:
        """End the threads and their database connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for desk in self._desks:
            desk.thread.close()

    @property
    def expected_seconds(self) -> float:
        """How long somebody who comes now would wait: by how long a batch takes, and how long the
        present ones have been taking already.
        """
        running = self._running_seconds()
        if not running:
            return 0.0
        batch_seconds = max(self._batch_seconds, min(running))
        batches = 1 + len(self._waiting) // _BATCH
        return batch_seconds * math.ceil(batches / _THREADS)

    def _open_desk(self) -> None:
        """Let a free thread serve, unless those that are at work will be done in a moment."""
        free = [desk for desk in self._desks if desk.since is None]
        is_idle = len(free) == len(self._desks)
        if not free or not self._waiting:
            return
        is_slow = not is_idle and min(self._running_seconds()) > 0.9 * _SLOW_SECONDS
        if is_idle or is_slow or len(self._waiting) >= _BATCH:
            free[0].since = self._clock()
            task = asyncio.create_task(self._work(free[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _running_seconds(self) -> list[float]:
        """Return how long each batch has been taking."""
        now = self._clock()
        return [now - desk.since for desk in self._desks if desk.since is not None]

    async def _work(self, desk: _Desk) -> None:
        """Serve until nobody waits."""
        loop = asyncio.get_running_loop()
        try:
            while batch := await self._gather_batch():
                desk.since = self._clock()
                helper = loop.call_later(_SLOW_SECONDS, self._open_desk)
                try:
                    await self._answer(desk, batch)
                finally:
                    helper.cancel()
                self._batch_seconds = self._clock() - desk.since
        finally:
            desk.since = None

    async def _gather_batch(self) -> list[_Arrival]:
        """Take the next ones, and with them those who come right behind."""
        ends, known = self._clock() + _GATHER_SECONDS, 0
        while known < len(self._waiting) < _BATCH and self._clock() <= ends:
            known = len(self._waiting)
            await asyncio.sleep(0)
        return self._take_batch()

    def _take_batch(self) -> list[_Arrival]:
        """Take the next ones whose sockets are still there."""
        batch: list[_Arrival] = []
        while self._waiting and len(batch) < _BATCH:
            arrival = self._waiting.popleft()
            if not arrival.answer.done():
                batch.append(arrival)
        return batch

    async def _answer(self, desk: _Desk, batch: Sequence[_Arrival]) -> None:
        try:
            answers = await desk.thread.run(_serve_all, self._serve, batch)
        except Exception as error:
            answers = [error] * len(batch)
        except BaseException:
            for arrival in batch:
                arrival.answer.cancel()
            raise
        for number, (arrival, answer) in enumerate(zip(batch, answers, strict=True)):
            if number % _ANSWERS_A_TURN == _ANSWERS_A_TURN - 1:
                await asyncio.sleep(0)  # each goes on with its session: let others run
            if arrival.answer.done():
                continue
            if isinstance(answer, Exception):
                arrival.answer.set_exception(answer)
            else:
                arrival.answer.set_result(answer)


def _serve_all(serve: Serve, batch: Sequence[_Arrival]) -> Answers:
    """Serve a batch, in a thread: each user space by itself, in the context of a handshake that
    names it. One that fails doesn't fail the others.
    """
    if conf.namespace_is_fixed:
        return serve([arrival.wanted for arrival in batch])
    answers: dict[int, Identity | Exception | None] = {}
    spaces: dict[str, list[int]] = {}
    for number, arrival in enumerate(batch):
        try:
            spaces.setdefault(arrival.context.run(_namespace), []).append(number)
        except Exception as error:
            answers[number] = error
    for numbers in spaces.values():
        context = batch[numbers[0]].context
        found: Answers
        try:
            found = context.run(serve, [batch[number].wanted for number in numbers])
        except Exception as error:
            found = [error] * len(numbers)
        answers.update(zip(numbers, found, strict=True))
    return [answers[number] for number in range(len(batch))]


def _namespace() -> str:
    return conf.namespace


def _jittered(seconds: float) -> float:
    """Spread those who are refused together over as much time again."""
    return round(seconds * random.uniform(1, 2), 1)


_arrivals: LoopLocal[Arrivals] = LoopLocal(Arrivals, Arrivals.close)


def current_arrivals() -> Arrivals:
    """Return the running event loop's queue."""
    return _arrivals.get()


@sensitive_variables()
async def aauthenticate(token: str, *, is_known: bool = False) -> Identity:
    """Return whose token this is, when it is its turn; a bad token never gets into the queue, and
    an anonymous one need not.

    Args:
        is_known: the token renews a session.

    Raises:
        AuthenticationFailed: ``expired_token``, ``invalid_token`` or ``user_not_found``.
        ServerBusy: more wait than can be served soon.
        django.db.Error: the database is out of reach.
    """
    if is_anonymous(token):
        return await aanonymous_identity(token)
    claims = await tokens.averify(token)
    return await current_arrivals().identify(claims, is_known=is_known)
