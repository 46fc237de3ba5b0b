"""A session without a user."""

import json
import time

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser

from bazis_ws_channels import groups, publishing
from bazis_ws_channels.auth.identity import Identity
from bazis_ws_channels.auth.reauthorization import current_reauthorizer
from bazis_ws_channels.connection.anonymous import AnonymousSession
from bazis_ws_channels.connection.visitors import Visitors, current_visitors
from bazis_ws_channels.counters import counts
from bazis_ws_channels.exceptions import ServerBusy, SessionRefused
from bazis_ws_channels.parcels import Parcel
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Counts
from bazis_ws_channels.presence.tracker import current_tracker
from tests.unit.connection.people import identity
from tests.unit.connection.test_gate import world  # noqa: F401 - a fixture

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def on(settings):
    """Anonymous sessions are allowed."""
    settings.BAZIS_WS_ANONYMOUS = True


def anonymous(token=TOKEN):
    """Return the identity of a token."""
    key = groups.anonymous_key(token)
    return Identity(AnonymousUser(), key, None, time.monotonic(), is_anonymous=True)


async def test_its_life(world):  # noqa: F811
    """It is told, gets what is published to it, and is in no books but its own."""
    before = counts.anonymous, counts.sessions
    await world.gate.admit(anonymous())
    session, layer = world.gate.session, get_channel_layer()
    assert isinstance(session, AnonymousSession)
    assert session.is_anonymous
    assert session.pk is None
    assert isinstance(world.scope["user"], AnonymousUser)
    assert world.gate.names == {"user": None, "session": session.id}
    assert set(layer.groups) == {session.group}
    assert get_store().ask(Counts([session.identity.key, "None"])) == [0, 0]
    assert len(current_reauthorizer()) == 0
    assert (counts.anonymous, counts.sessions) == (before[0] + 1, before[1])
    await publishing.apublish_anonymous(TOKEN, "for you")
    await publishing.abroadcast("for all")
    await world.told()
    [subscribed, data] = [json.loads(each["text"]) for each in world.socket.sent]
    assert (subscribed["user"], subscribed["expires_in"]) == (None, None)
    assert data["data"] == "for you"
    assert world.started == 1
    await world.gate.close()
    assert not any(layer.groups.values())
    assert (counts.anonymous, counts.sessions, world.ended) == (*before, 1)
    assert len(current_visitors()) == 0


async def test_everybodys_messages_where_the_project_says_so(world, settings):  # noqa: F811
    """Not otherwise."""
    settings.BAZIS_WS_ANONYMOUS_COMMON = True
    await world.gate.admit(anonymous())
    await publishing.abroadcast("for all")
    await world.told()
    assert json.loads(world.socket.sent[-1]["text"])["data"] == "for all"


async def test_from_nobody_to_a_user_and_back(world, make_user):  # noqa: F811
    """One session after another on the same socket; nothing of the one goes on in the other."""
    alice = make_user(1)
    await world.gate.admit(anonymous())
    first = world.gate.session
    await world.gate.admit(anonymous())  # renewed
    assert world.gate.session is first
    await world.told()
    await world.gate.admit(identity(alice))
    await world.told()
    assert world.gate.session.pk == 1
    assert world.scope["user"] is alice
    world.gate.deliver(Parcel({"type": "ws.push", "group": first.group, "text": '"late"'}))
    await world.gate.admit(anonymous("x" * 16))
    assert get_store().ask(Counts(["1"])) == [0]
    joined = [name for name, members in get_channel_layer().groups.items() if members]
    assert joined == [world.gate.session.group]
    assert await world.told() == ["subscribed"] * 4
    assert (world.started, world.ended) == (3, 2)
    assert len(current_visitors()) == 1


async def test_a_user_whose_key_is_a_group_of_anonymous_sessions(world, make_user):  # noqa: F811
    """Is not taken for one of them, nor they for that user."""
    who = anonymous()
    user = identity(make_user(1))
    for key in (who.key, who.group):
        object.__setattr__(user, "key", key)
        await world.gate.admit(user)
        first = world.gate.session
        await world.gate.admit(who)
        assert world.gate.session is not first
        assert world.gate.session.is_anonymous
        await world.gate.admit(user)
        assert not world.gate.session.is_anonymous


async def test_endings_do_not_mean_it(world):  # noqa: F811
    """They are users'; the end of the server means all."""
    await world.gate.admit(anonymous())
    session = world.gate.session
    await world.gate.end_by({"group": "user_ws.None", "code": "logged_out", "detail": ""})
    world.gate.look_again({"group": session.group})
    world.gate.refresh(is_settled=True)
    await world.told()
    assert session.is_live


async def test_a_server_that_stops_takes_none(world):  # noqa: F811
    """As with users."""
    await current_tracker().stop()
    with pytest.raises(ServerBusy):
        await world.gate.admit(anonymous())
    await world.gate.close()
    assert len(current_visitors()) == 0


# --- places ---------------------------------------------------------------------------------


def test_places_of_an_address(settings):
    """Others don't count, and who leaves makes room."""
    settings.BAZIS_WS_MAX_ANONYMOUS_BY_ADDRESS = 2
    visitors = Visitors()
    visitors.enter("a", "192.0.2.1")
    visitors.enter("b", "192.0.2.1")
    with pytest.raises(SessionRefused, match="too_many_connections"):
        visitors.enter("c", "192.0.2.1")
    visitors.enter("d", "192.0.2.2")
    for number in range(5):
        visitors.enter(number, None)  # a proxy's address means nobody
    visitors.leave("c")
    visitors.leave("a")
    visitors.leave("a")
    visitors.enter("c", "192.0.2.1")
    for each in ("b", "c", "d", *range(5)):
        visitors.leave(each)
    assert len(visitors) == 0
    assert visitors._by_address == {}


def test_places_of_a_process(settings):
    """Whatever the addresses."""
    settings.BAZIS_WS_MAX_ANONYMOUS = 3
    visitors = Visitors()
    for number in range(3):
        visitors.enter(number, f"192.0.2.{number}" if number else None)
    for address in ("192.0.2.9", None):
        with pytest.raises(ServerBusy) as caught:
            visitors.enter("late", address)
        assert 5 <= caught.value.retry_after <= 15
    visitors.leave(0)
    visitors.enter("late", None)


async def test_who_is_refused_has_cost_nothing(world, settings):  # noqa: F811
    """No group is joined; no place is taken."""
    settings.BAZIS_WS_MAX_ANONYMOUS = 1
    current_visitors().enter("other", None)
    with pytest.raises(ServerBusy):
        await world.gate.admit(anonymous())
    assert get_channel_layer().groups == {}
    await world.gate.close()
    assert len(current_visitors()) == 1
    current_visitors().leave("other")
