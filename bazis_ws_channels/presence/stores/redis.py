"""Presence in Redis or Valkey: one round trip a question, as a rule."""

from __future__ import annotations

from typing import Any, TypeVar

from redis.exceptions import RedisError

from ...exceptions import PresenceUnavailable
from ...redis.blocking import exchange
from ...redis.commands import Command
from ...redis.connection import connection_to
from ...redis.errors import explain
from ...redis.hosts import Host
from .base import Question
from .encoding import Stale, decode, encode

__all__ = ["RedisStore"]

R = TypeVar("R")

#: A question is asked again if new processes have started in between.
_TRIES = 5


class RedisStore:
    """Answers questions by running scripts in Redis.

    Args:
        host: the server, or a Cluster, where all keys have one hash tag.
    """

    shared = True

    def __init__(self, host: Host) -> None:
        self.host = host
        self._processes: list[str] = []

    @property
    def openings(self) -> int:
        """How often the running event loop has opened connections to the host."""
        return connection_to(self.host).openings

    def ask(self, question: Question[R]) -> R:
        """Answer, blocking; safe to use from threads, greenlets and after a fork."""
        for _ in range(_TRIES):
            command = self.command(question)
            replies = exchange({self.host: [command]}, self.host.timeout_seconds)[self.host]
            if isinstance(replies, Exception):
                raise PresenceUnavailable(explain(replies)) from replies
            [reply] = replies
            answer = self.answer(question, reply)
            if not isinstance(answer, Stale):
                return answer
        raise PresenceUnavailable("New processes come up faster than the question can be asked.")

    async def aask(self, question: Question[R]) -> R:
        """Answer on the running event loop, over its connection to the host."""
        for _ in range(_TRIES):
            try:
                reply = await connection_to(self.host).call(self.command(question))
            except (RedisError, OSError) as error:
                raise PresenceUnavailable(explain(error)) from error
            answer = self.answer(question, reply)
            if not isinstance(answer, Stale):
                return answer
        raise PresenceUnavailable("New processes come up faster than the question can be asked.")

    def command(self, question: Question[Any]) -> Command:
        """Return the command for a question, so that it can be written together with others."""
        return encode(question, self._processes, is_tagged=self.host.is_cluster)

    def answer(self, question: Question[R], reply: Any) -> R | Stale:
        """Return the answer in a reply, or `Stale` if the question must be asked again.

        Raises:
            PresenceUnavailable: the reply is an error, or doesn't fit the question.
        """
        if isinstance(reply, Exception):
            raise PresenceUnavailable(explain(reply)) from reply
        try:
            answer: R | Stale = decode(question, reply)
        except ValueError as error:
            raise PresenceUnavailable(f"Redis gave a strange answer: {error}") from error
        if isinstance(answer, Stale):
            self._processes = answer.processes
        return answer
