"""The wire format: message shapes, error codes, close codes. No I/O.

docs/protocol.md describes them for those who write clients.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from .conf import conf

__all__ = [
    "BLAMES_CLIENT",
    "CLOSE_AUTH",
    "CLOSE_BAD_CLIENT",
    "CLOSE_GOING_DOWN",
    "CLOSE_SERVER_FAILURE",
    "CLOSE_TOO_BIG",
    "CLOSE_TOO_MUCH",
    "PONG",
    "SUBPROTOCOL",
    "BadMessage",
    "data_frame",
    "error_frame",
    "json_id",
    "missed_frame",
    "parse",
    "positioned",
    "presence_frame",
    "subscribed_frame",
]

SUBPROTOCOL: Final = "bazis-ws"

# Close codes: daphne can send 1000 and 3000-4999 only; 4000-4999 are for applications
# (RFC 6455, section 7.4.2).
CLOSE_BAD_CLIENT: Final = 4400
CLOSE_AUTH: Final = 4401
CLOSE_TOO_BIG: Final = 4413
CLOSE_TOO_MUCH: Final = 4429
CLOSE_SERVER_FAILURE: Final = 4500
CLOSE_GOING_DOWN: Final = 4503
#: The client has sent what nobody serves: there is no point in reading on.
BLAMES_CLIENT: Final = frozenset({CLOSE_BAD_CLIENT, CLOSE_TOO_BIG, CLOSE_TOO_MUCH})

PONG: Final = '{"type": "pong"}'


class BadMessage(Exception):
    """A client's message breaks the protocol; `str()` is the reason, sent to the client."""


def parse(text: str) -> dict[str, Any]:
    """Return the JSON object in a client's text frame.

    Raises:
        BadMessage: `text` is not JSON, or not an object.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise BadMessage("The JSON is nested too deeply.") from None
    except ValueError:
        raise BadMessage("The frame is not valid JSON.") from None
    if not isinstance(content, dict):
        raise BadMessage("The frame must hold a JSON object.")
    return content


def json_id(pk: Any) -> int | str:
    """Return a primary key as the protocol's `id`: a number for integer keys, else its string;
    with ``BAZIS_WS_ID_AS_STRING`` always its string.
    """
    is_number = isinstance(pk, int) and not isinstance(pk, bool)
    return pk if is_number and not conf.BAZIS_WS_ID_AS_STRING else str(pk)


def data_frame(data: Any) -> str:
    """Return the frame that carries `data`, encoded as Django encodes JSON.

    Raises:
        TypeError: JSON can't hold `data`; the message names what and where.
    """
    try:
        text = _dumps({"type": "data", "data": data})
        text.encode()  # a lone surrogate can't be sent in a text frame
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(_explain(data) or f"data can't be encoded as JSON: {error}") from error
    return text


def error_frame(code: str, detail: str, retry_after: float | None = None) -> str:
    """Return an `error` message; with `server_busy`, the seconds after which to come back."""
    message = {"type": "error", "code": code, "detail": detail}
    return _dumps(message if retry_after is None else {**message, "retry_after": retry_after})


def subscribed_frame(
    pk: Any,
    expires_in: int | None,
    position: Mapping[str, str] | None,
    recovered: bool | None,
    replayed: int,
) -> str:
    """Return the message that a session is live.

    Args:
        pk: the user's primary key; None: it is an anonymous session.
        expires_in: seconds until the session's end; None: it has none.
        position: where in the streams what follows begins; None where nothing is recorded.
        recovered: whether everything since the client's position follows; None if it sent none.
        replayed: how many messages follow as replay.
    """
    return _dumps(
        {
            "type": "subscribed",
            "user": None if pk is None else json_id(pk),
            "expires_in": expires_in,
            "position": position,
            "recovered": recovered,
            "replayed": replayed,
        }
    )


def missed_frame(position: Mapping[str, str]) -> str:
    """Return the message that messages were lost which can't be replayed."""
    return _dumps({"type": "missed", "position": position})


def positioned(frame: str, stream: str, position: str, *, replayed: bool = False) -> str:
    """Return a frame with its place in a stream; it is not encoded again."""
    mark = ', "replayed": true' if replayed else ""
    return f'{frame[:-1]}, "position": {{"{stream}": "{position}"}}{mark}}}'


def presence_frame(pk: Any, is_online: bool, last_seen: datetime | None) -> str:
    """Return a `presence` message: the status of a watched user."""
    return _dumps(
        {
            "type": "presence",
            "user": json_id(pk),
            "is_online": is_online,
            "last_seen": last_seen.isoformat() if last_seen else None,
        }
    )


_dumps = DjangoJSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _explain(data: Any) -> str | None:
    """Return which part of `data` JSON can't hold, with its path; None if none is found."""
    stack: list[tuple[Any, str, tuple[int, ...]]] = [(data, "data", ())]
    while stack:
        value, path, above = stack.pop()
        if id(value) in above:
            return f"{path} contains itself."
        if len(above) > 500:
            return f"{path[:200]}... is nested too deeply."
        within = (*above, id(value))
        if isinstance(value, Mapping):
            for key in value:
                if reason := _explain_key(key):
                    return f"{path} has a key {reason}"
            stack.extend((item, f"{path}[{key!r}]", within) for key, item in value.items())
        elif isinstance(value, list | tuple):
            stack.extend((item, f"{path}[{n}]", within) for n, item in enumerate(value))
        elif reason := _explain_leaf(value):
            return f"{path} {reason}"
    return None


def _explain_key(key: Any) -> str | None:
    if not isinstance(key, str | int | float | bool | None):
        return f"of type {type(key).__name__}: {key!r:.80}"
    try:
        str(key).encode()
    except UnicodeEncodeError:
        return f"with a lone surrogate, which UTF-8 can't hold: {key!r:.80}"
    except ValueError:
        return "of too many digits."  # for `repr` too
    return None


def _explain_leaf(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value!r}, which JSON can't hold."
    try:
        _dumps(value).encode()
    except UnicodeEncodeError:
        return "has a lone surrogate, which UTF-8 can't hold."
    except (TypeError, ValueError):
        hint = ""
        if isinstance(value, Model):
            hint = " Publish what its serializer returns."
        return f"is of type {type(value).__name__}, which JSON can't hold.{hint}"
    return None
