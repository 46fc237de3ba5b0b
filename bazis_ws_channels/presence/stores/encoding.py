"""Encode questions as Redis commands, and decode the replies. No I/O.

Keys, behind ``BAZIS_WS_KEY_PREFIX``:

====================================  ==========================================================
``user_ws.<key>.session``             hash: connection -> process
``user_ws.process.<process>``         hash: connection -> user key, the same seen from the process
``user_ws.lease.<process>``           string with a TTL: the process is alive; ``peers`` if it
                                      has company, else ``alone``
``user_ws.processes``                 set of processes that are registered and not yet buried
``user_ws.buried``                    set of processes whose users were told offline
``user_ws.online``                    set of user keys with a connection
``user_ws.leaving``                   sorted set of user keys without one -> when to tell (us)
``user_ws.last_seen``                 sorted set of user keys -> time (us)
``user_ws.edges``                     hash: user key -> change that hasn't been told
``user_ws.seq``                       number of the last change
``user_ws.<key>.revoked``             hash: ``before`` (us), and for Django sessions ``at`` (us)
``user_ws.jti.<jti>.token``           a revoked token, until it would have expired
``user_ws.leader``                    string with a TTL: the process that tells the number online
====================================  ==========================================================

In a Cluster ``{user_ws}`` stands for ``user_ws``: this hash tag gives all of them one slot.

A lease is a key with a TTL, so that only Redis's clock says who is alive and one plain command
renews it. A user counts as told online while the key is in ``online`` or ``leaving``: edges are
changes of that, made by whichever script call removed or added the key, and so by one process.

Every key is declared in KEYS, as Redis Cluster and Dragonfly ask: a script that must know who is
alive gets the lease of every process that the asker knows, and answers ``stale`` if there are
others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

from ...conf import conf
from ...redis.commands import Command, Script
from . import base

__all__ = ["Form", "Stale", "decode", "encode"]


class Stale(NamedTuple):
    """Reply that the asker doesn't know all processes, with the list of all."""

    processes: list[str]


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of question is asked of Redis.

    Attributes:
        files: the Lua files that make its script, in order; none for a plain command.
        keys, args: its own KEYS and ARGV, or a plain command's parts.
        parse: makes the answer from the reply and the question.
        needs_processes: whether the script must know who is alive.
    """

    files: tuple[str, ...]
    keys: Callable[[Any], Sequence[str]]
    args: Callable[[Any], Sequence[Any]]
    parse: Callable[[Any, Any], Any]
    needs_processes: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs_processes", "alive" in self.files)


def encode(
    question: base.Question[Any], processes: Sequence[str], *, is_tagged: bool = False
) -> Command:
    """Return the command that asks.

    Args:
        processes: those that the asker knows.
        is_tagged: give all keys a hash tag, and so one slot of a Cluster.
    """
    form = _FORMS[type(question)]
    keys, args = form.keys(question), form.args(question)
    if not form.files:
        return Command(tuple(_tagged(args) if is_tagged else args), is_repeatable=True)
    if form.needs_processes:
        leases, names = _leases(conf.BAZIS_WS_KEY_PREFIX, tuple(processes))
        keys, args = [*leases, *keys], [*names, *args]
    if is_tagged:
        keys = _tagged(keys)
    return _script(form.files).command(keys, args, is_repeatable=True)


def decode(question: base.Question[Any], reply: Any) -> Any:
    """Return the answer in a reply, or `Stale`.

    Raises:
        ValueError: the reply doesn't fit the question.
    """
    form = _FORMS[type(question)]
    try:
        if form.needs_processes and _is_stale(reply):
            return Stale(sorted(map(_text, reply[1])))
        return form.parse(reply, question)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        kind = type(question).__name__
        raise ValueError(f"unexpected reply to {kind}: {reply!r:.200}") from error


# --- names ----------------------------------------------------------------------------------


def _name(name: str) -> str:
    return f"{conf.BAZIS_WS_KEY_PREFIX}user_ws.{name}"


def _tagged(parts: Sequence[Any]) -> list[Any]:
    """Return keys with the hash tag ``{user_ws}``, and what is no key as it is."""
    plain, tagged = _name(""), f"{conf.BAZIS_WS_KEY_PREFIX}{{user_ws}}."
    return [
        tagged + part[len(plain) :] if isinstance(part, str) and part.startswith(plain) else part
        for part in parts
    ]


@lru_cache(maxsize=8)
def _leases(prefix: str, processes: tuple[str, ...]) -> tuple[list[str], list[Any]]:
    """Return the KEYS and ARGV of alive.lua, which are the same until a process starts or ends."""
    return [_name("processes"), *map(_lease, processes)], [len(processes), *processes]


def _lease(process: str) -> str:
    return _name(f"lease.{process}")


def _records(process: str) -> str:
    return _name(f"process.{process}")


def _session(key: str) -> str:
    return _name(f"{key}.session")


def _session_keys(keys: Sequence[str]) -> list[str]:
    prefix = _name("")
    return [f"{prefix}{key}.session" for key in keys]


def _revocation(key: str) -> str:
    return _name(f"{key}.revoked")


def _token(jti: str | None) -> str:
    return _name(f"jti.{jti or ''}.token")


def _edge_keys(*names: str) -> list[str]:
    return [_name("edges"), _name("seq"), *names]


def _sessions(records: Sequence[base.Record]) -> list[str]:
    return [_session(key) for _, key in records]


@lru_cache
def _script(files: tuple[str, ...]) -> Script:
    folder = resources.files(__package__) / "lua"
    return Script("".join((folder / f"{name}.lua").read_text() for name in files))


# --- replies --------------------------------------------------------------------------------


def _is_stale(reply: Any) -> bool:
    """Tell the reply of alive.lua by its shape: a list of edges may begin with the same word,
    which may be a user's key.
    """
    match reply:
        case [b"stale", list()]:
            return True
    return False


def _text(value: bytes) -> str:
    return value.decode()


def _optional(value: bytes) -> int | None:
    return int(float(value)) if value else None


def _edges(flat: list[bytes]) -> list[base.Edge]:
    rows = zip(*[iter(flat)] * 5, strict=True)
    return [
        base.Edge(_text(key), int(seq), int(online) == 1, int(at), int(seen))
        for key, seq, online, at, seen in rows
    ]


def _flat_edges(reply: list[bytes], question: Any) -> list[base.Edge]:
    return _edges(reply)


def _peers(reply: bytes | None, question: Any) -> bool | None:
    return None if reply is None else {b"peers": True, b"alone": False}.get(reply, False)


def _connected(reply: list[Any], question: Any) -> base.Connected:
    verdict, edges = reply
    if verdict not in (b"ok", b"lost", b"revoked", b"too_many"):
        raise ValueError(verdict)
    return base.Connected(_text(verdict), _edges(edges))  # type: ignore[arg-type]


def _census(reply: list[Any], question: Any) -> base.CensusReply:
    is_alive, dead, peers, now, next_due, more, edges = reply
    due = _optional(next_due)
    return base.CensusReply(
        bool(is_alive),
        list(map(_text, dead)),
        bool(peers),
        int(now),
        due,
        bool(more),
        _edges(edges),
    )


def _page(reply: list[Any], question: Any) -> base.RecordsReply:
    cursor, flat = reply
    texts = list(map(_text, flat))
    return base.RecordsReply(_text(cursor), list(zip(texts[::2], texts[1::2], strict=True)))


def _online_page(reply: list[Any], question: Any) -> base.OnlineReply:
    are_sure, cursor, keys = reply
    return base.OnlineReply(bool(are_sure), _text(cursor), list(map(_text, keys)))


def _statuses(reply: list[Any], question: base.Statuses) -> tuple[int, list[base.Seen]]:
    now, *flat = reply
    rows = zip(question.keys, flat[::2], flat[1::2], strict=True)
    return int(now), [base.Seen(int(count), _optional(seen)) for _, count, seen in rows]


def _counts(reply: list[int], question: base.Counts) -> list[int]:
    if len(reply) != len(question.keys):
        raise ValueError(reply)
    return list(map(int, reply))


def _told_states(reply: list[Any], question: Any) -> tuple[int, int, list[base.ToldState]]:
    seq, now, *flat = reply
    rows = zip(question.keys, flat[::2], flat[1::2], strict=True)
    states = [base.ToldState(bool(told), _optional(seen)) for _, told, seen in rows]
    return int(seq), int(now), states


def _states(reply: list[int], question: base.Fleet) -> list[base.ProcessState]:
    rows = zip(question.processes, reply[::2], reply[1::2], strict=True)
    return [base.ProcessState(bool(alive), int(number)) for _, alive, number in rows]


def _revocations(reply: list[Any], question: Any) -> base.RevocationsReply:
    cursor, keys = reply
    kinds = [_text(key).rpartition(".")[2] for key in keys]
    return base.RevocationsReply(_text(cursor), kinds.count("revoked"), kinds.count("token"))


def _flags(reply: list[int], question: base.Revoked) -> list[bool]:
    return [bool(flag) for flag, _ in zip(reply, question.tokens, strict=True)]


def _token_args(token: base.Token) -> list[Any]:
    return ["" if part is None else part for part in (token.issued_us, token.jti, token.age_us)]


def _pairs(records: Sequence[base.Record]) -> list[str]:
    return [part for record in records for part in record]


_FORMS: dict[type[Any], Form] = {
    base.Register: Form(
        ("alive", "register"),
        lambda q: [_lease(q.process)],
        lambda q: [q.process, q.lease_ms],
        lambda reply, q: bool(int(reply)),
    ),
    base.Renew: Form(
        (),
        lambda q: [],
        lambda q: ["GETEX", _lease(q.process), "PX", q.lease_ms],
        _peers,
    ),
    base.Release: Form(
        ("release",),
        lambda q: [
            _name("processes"),
            _lease(q.process),
            _records(q.process),
            _name("buried"),
        ],
        lambda q: [q.process],
        lambda reply, q: None,
    ),
    base.Intact: Form(
        (),
        lambda q: [],
        lambda q: [
            "TOUCH",  # counts existing keys, and protects them from LRU eviction
            _name("processes"),
            _name("online"),
            _records(q.process),
            *map(_session, q.keys),
        ],
        lambda reply, q: int(reply) == 3 + len(q.keys),
    ),
    base.Census: Form(
        ("clock", "alive", "edges", "census"),
        lambda q: _edge_keys(_lease(q.process), _name("leaving"), _name("last_seen")),
        lambda q: [q.process, q.lease_ms, q.batch, int(q.own)],
        _census,
    ),
    base.Records: Form(
        (),
        lambda q: [],
        lambda q: ["HSCAN", _records(q.process), q.cursor, "COUNT", q.count],
        _page,
    ),
    base.Bury: Form(
        ("clock", "alive", "edges", "bury"),
        lambda q: _edge_keys(
            _records(q.dead),
            _name("buried"),
            _name("online"),
            _name("last_seen"),
            _name("leaving"),
            *_sessions(q.records),
        ),
        lambda q: [q.process, q.dead, q.grace_us, q.silent_us, *_pairs(q.records)],
        _flat_edges,
    ),
    base.Connect: Form(
        ("clock", "revocation", "alive", "edges", "connect"),
        lambda q: _edge_keys(
            _session(q.key),
            _records(q.process),
            _name("online"),
            _name("leaving"),
            _name("last_seen"),
            _revocation(q.key),
            _token(q.token.jti),
        ),
        lambda q: [q.process, q.connection, q.key, q.limit, *_token_args(q.token)],
        _connected,
    ),
    base.Disconnect: Form(
        ("clock", "disconnect"),
        lambda q: [
            _records(q.process),
            _name("online"),
            _name("leaving"),
            _name("last_seen"),
            _name("buried"),
            *_sessions(q.records),
        ],
        lambda q: [q.process, q.grace_us, q.keep_us, q.lost or "", *_pairs(q.records)],
        lambda reply, q: bool(int(reply)),
    ),
    base.Restore: Form(
        ("clock", "alive", "edges", "restore"),
        lambda q: _edge_keys(
            _records(q.process),
            _name("online"),
            _name("leaving"),
            _name("buried"),
            *_sessions(q.records),
        ),
        lambda q: [q.process, q.lost, *_pairs(q.records)],
        _flat_edges,
    ),
    base.Told: Form(
        ("told",),
        lambda q: [_name("edges")],
        lambda q: [q.process, *(part for edge in q.edges for part in edge)],
        _flat_edges,
    ),
    base.Statuses: Form(
        ("clock", "alive", "statuses"),
        lambda q: [_name("last_seen"), *_session_keys(q.keys)],
        lambda q: q.keys,
        _statuses,
    ),
    base.Counts: Form(
        ("alive", "counts"),
        lambda q: _session_keys(q.keys),
        lambda q: [],
        _counts,
    ),
    base.ToldStates: Form(
        ("clock", "told_states"),
        lambda q: [_name("online"), _name("leaving"), _name("last_seen"), _name("seq")],
        lambda q: q.keys,
        _told_states,
    ),
    base.OnlineKeys: Form(
        ("alive", "online_keys"),
        lambda q: [_name("online")],
        lambda q: [q.cursor, q.count],
        _online_page,
    ),
    base.OnlineCount: Form(
        ("alive", "online_count"),
        lambda q: [_name("online")],
        lambda q: [],
        lambda reply, q: None if int(reply) < 0 else int(reply),
    ),
    base.Processes: Form(
        (),
        lambda q: [],
        lambda q: ["SMEMBERS", _name("processes")],
        lambda reply, q: sorted(map(_text, reply)),
    ),
    base.Fleet: Form(
        ("fleet",),
        lambda q: [part for name in q.processes for part in (_lease(name), _records(name))],
        lambda q: [],
        _states,
    ),
    base.Lead: Form(
        ("lead",),
        lambda q: [_name("leader")],
        lambda q: [q.process, q.lease_ms],
        lambda reply, q: bool(int(reply)),
    ),
    base.Revocations: Form(
        (),
        lambda q: [],
        lambda q: ["SCAN", q.cursor, "MATCH", _name("*"), "COUNT", q.count],
        _revocations,
    ),
    base.RevokeBefore: Form(
        ("clock", "revoke_before"),
        lambda q: [_revocation(q.key)],
        lambda q: ["" if q.before_us is None else q.before_us, q.ttl_seconds, int(q.cookies)],
        lambda reply, q: int(reply),
    ),
    base.RevokeToken: Form(
        (),
        lambda q: [],
        lambda q: ["SET", _token(q.jti), "1", "EX", q.ttl_seconds],
        lambda reply, q: None,
    ),
    base.Revoked: Form(
        ("clock", "revocation", "revoked"),
        lambda q: [
            part for key, token in q.tokens for part in (_revocation(key), _token(token.jti))
        ],
        lambda q: [part for _, token in q.tokens for part in _token_args(token)],
        _flags,
    ),
}
