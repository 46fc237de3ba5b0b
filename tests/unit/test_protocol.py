"""The wire format."""

import contextlib
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from bazis_ws_channels import protocol


def test_parse_returns_objects():
    """And nothing else."""
    assert protocol.parse('{"type": "ping"}') == {"type": "ping"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "must hold a JSON object"),
        ("null", "must hold a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "not valid JSON"),
    ],
    ids=["empty", "open", "list", "null", "deep", "digits"],
)
def test_parse_says_why_not(text, why):
    """For the client's developer."""
    with pytest.raises(protocol.BadMessage, match=why):
        protocol.parse(text)


@given(st.text(max_size=50))
def test_parse_raises_nothing_else(text):
    """Whatever comes."""
    with contextlib.suppress(protocol.BadMessage):
        assert isinstance(protocol.parse(text), dict)


def test_ids(settings):
    """Numbers for integers; strings for all else, and for all where a project says so."""
    value = uuid.uuid4()
    assert protocol.json_id(7) == 7
    assert protocol.json_id(value) == str(value)
    assert protocol.json_id(True) == "True"
    settings.BAZIS_WS_ID_AS_STRING = True
    assert protocol.json_id(7) == "7"


def test_frames():
    """As the contract shows them."""
    seen = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert json.loads(protocol.error_frame("expired_token", "Token expired")) == {
        "type": "error", "code": "expired_token", "detail": "Token expired",
    }  # fmt: skip
    assert json.loads(protocol.subscribed_frame(7, 60, {"user": "a"}, True, 3)) == {
        "type": "subscribed", "user": 7, "expires_in": 60, "position": {"user": "a"},
        "recovered": True, "replayed": 3,
    }  # fmt: skip
    assert json.loads(protocol.subscribed_frame(7, None, None, None, 0))["expires_in"] is None
    assert json.loads(protocol.presence_frame("x", False, seen)) == {
        "type": "presence", "user": "x", "is_online": False,
        "last_seen": "2026-01-02T03:04:05.000006+00:00",
    }  # fmt: skip
    assert json.loads(protocol.presence_frame(7, True, None))["last_seen"] is None
    assert json.loads(protocol.PONG) == {"type": "pong"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), inner
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_data_is_the_value_itself(value):
    """Any JSON value comes back equal."""
    assert json.loads(protocol.data_frame(value)) == {"type": "data", "data": value}


def test_what_django_encodes():
    """Dates, decimals, UUIDs, lazy strings; text as it is, not escaped."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    value = {"at": moment, "sum": Decimal("1.50"), "hi": gettext_lazy("ü")}
    text = protocol.data_frame(value)
    assert json.loads(text)["data"] == {"at": "2026-01-02T00:00:00Z", "sum": "1.50", "hi": "ü"}
    assert "ü" in text


def ring():
    """A list that holds itself."""
    value = [1]
    value.append({"again": value})
    return value


def deep(depth):
    """Lists in lists."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": [1, {2}]}, r"data\['a'\]\[1\] is of type set"),
        ({"a": float("nan")}, r"data\['a'\] is nan"),
        ([float("-inf")], r"data\[0\] is -inf"),
        ({(1, 2): 3}, r"data has a key of type tuple: \(1, 2\)"),
        ({"\ud800": 1}, r"data has a key with a lone surrogate"),
        ({"a": "\ud800"}, r"data\['a'\] has a lone surrogate"),
        ({10**5000: 1}, r"data has a key of too many digits"),
        ([10**5000], r"data\[0\] is of type int"),
        (ring(), r"data\[1\]\['again'\] contains itself"),
        (deep(100_000), r"nested too deeply"),
        (object(), r"data is of type object"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_json_cannot_hold_is_named(data, message):
    """By its path."""
    with pytest.raises(TypeError, match=message):
        protocol.data_frame(data)


def test_a_model_instance_comes_with_advice(make_user):
    """Its serializer knows what may be shown."""
    with pytest.raises(TypeError, match=r"is of type User, which JSON can't hold\. Publish what"):
        protocol.data_frame([make_user(1)])


def test_what_cannot_be_explained_is_a_type_error_all_the_same():
    """With the encoder's own words."""
    with pytest.raises(TypeError, match="can't be encoded as JSON: Out of range float"):
        protocol.data_frame({float("nan"): 1})
