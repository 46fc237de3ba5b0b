"""Following other users' online status."""

import json

import pytest
from channels.layers import get_channel_layer

from bazis_ws_channels.connection.watches import Watches, WatchForbidden
from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.stores.base import ToldState


class Store:
    """A store that says what the test wants of user keys."""

    def __init__(self):
        self.seq, self.states, self.error = 0, {}, None
        self.meanwhile = lambda: None

    async def aask(self, question):
        """Answer `ToldStates`."""
        seq, states = self.seq, [self.states.get(key) for key in question.keys]
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return seq, 5_000_000, [state or ToldState(False, None) for state in states]


@pytest.fixture
def store(monkeypatch):
    """The store."""
    store = Store()
    monkeypatch.setattr("bazis_ws_channels.connection.watches.get_store", lambda: store)
    return store


class World:
    """A session's watches, and what was written to its client."""

    def __init__(self, user):
        self.user, self.written = user, []
        self.layer = get_channel_layer()
        self.watches = Watches(self.layer, "specific.channel", self.written.append, "")

    async def watch(self, *pks):
        """Watch; return what was written."""
        await self.watches.watch(self.user, list(pks))
        return self.told()

    def change(self, key, seq, is_online, last_seen=2_000_000):
        """Hear of a change; return what was written."""
        event = {"user": key, "seq": seq, "is_online": is_online, "last_seen": last_seen}
        self.watches.changed(event)
        return self.told()

    def told(self):
        """Return the statuses written since."""
        written, self.written[:] = [json.loads(frame) for frame in self.written], []
        return [(each["user"], each["is_online"]) for each in written]

    def groups(self):
        """Return the groups joined."""
        return {name for name, members in self.layer.groups.items() if members}


@pytest.fixture
async def world(store, make_user):
    """User 1 watches."""
    return World(make_user(1, watches="all"))


async def test_a_watch_is_answered_with_a_snapshot_each_time(world, store):
    """Of each user named; the group is joined once."""
    store.states["2"] = ToldState(True, None)
    assert await world.watch(2, 3) == [(2, True), (3, False)]
    assert len(world.watches) == 2
    assert world.groups() == {"watch_ws.2", "watch_ws.3"}
    assert await world.watch(2) == [(2, True)]


async def test_last_seen_is_now_while_somebody_is_online(world, store):
    """By the store's clock."""
    store.states.update({"2": ToldState(True, 1_000_000), "3": ToldState(False, 1_000_000)})
    await world.watches.watch(world.user, [2, 3])
    seen = [json.loads(frame)["last_seen"] for frame in world.written]
    assert seen == ["1970-01-01T00:00:05+00:00", "1970-01-01T00:00:01+00:00"]


async def test_changes_are_told_once_in_order(world, store):
    """Older numbers and changes of nothing are dropped."""
    store.seq = 10
    await world.watch(2)
    assert world.change("2", 11, True) == [(2, True)]
    assert world.change("2", 11, True) == []
    assert world.change("2", 9, False) == []
    assert world.change("2", 12, True) == []
    assert world.change("2", 13, False) == [(2, False)]
    assert world.change("3", 14, True) == []


async def test_a_change_that_comes_before_the_snapshot(world, store):
    """Newer than the snapshot: it is shown with it, once."""
    store.seq = 10
    store.meanwhile = lambda: world.change("2", 11, True)
    assert await world.watch(2) == [(2, True)]
    assert world.change("2", 11, True) == []


async def test_a_change_that_the_snapshot_knows_already(world, store):
    """The snapshot holds."""
    store.seq, store.states["2"] = 12, ToldState(False, None)
    store.meanwhile = lambda: world.change("2", 11, True)
    assert await world.watch(2) == [(2, False)]


async def test_looking_again_tells_what_was_missed(world, store):
    """And nothing else."""
    await world.watch(2, 3)
    store.states["2"] = ToldState(True, None)
    await world.watches.refresh(may_be_offline=True)
    assert world.told() == [(2, True)]
    await world.watches.refresh(may_be_offline=True)
    assert world.told() == []


async def test_looking_again_too_early_believes_nobody_gone(world, store):
    """Who seems offline may only be on its way back."""
    store.states["2"] = ToldState(True, None)
    await world.watch(2)
    store.states["2"] = ToldState(False, None)
    await world.watches.refresh(may_be_offline=False)
    assert world.told() == []
    await world.watches.refresh(may_be_offline=True)
    assert world.told() == [(2, False)]


async def test_a_store_whose_numbers_went_back_is_believed(world, store):
    """It has lost its memory, and is right now."""
    store.seq = 1000
    await world.watch(2)
    store.seq, store.states["2"] = 1, ToldState(True, None)
    await world.watches.refresh(may_be_offline=True)
    assert world.told() == [(2, True)]
    assert world.change("2", 2, False) == [(2, False)]


async def test_nobody_is_looked_at_again_for_nothing(world, store):
    """No question is asked."""
    store.error = AssertionError("asked")
    await world.watches.refresh(may_be_offline=True)


async def test_unwatching_leaves_the_groups(world, store):
    """What isn't watched is left alone."""
    await world.watch(2, 3)
    await world.watches.unwatch([2, 9])
    assert world.groups() == {"watch_ws.3"}
    assert world.change("2", 99, True) == []
    await world.watches.clear()
    assert world.groups() == set()
    assert len(world.watches) == 0


async def test_a_watch_that_fails_leaves_nothing(world, store):
    """But what was watched before."""
    await world.watch(2)
    store.error = PresenceUnavailable("away")
    with pytest.raises(PresenceUnavailable):
        await world.watch(2, 3)
    assert world.groups() == {"watch_ws.2"}
    assert len(world.watches) == 1


async def test_the_limit_counts_users_once(world, store, settings):
    """Those watched already too; over it none is watched."""
    settings.BAZIS_WS_MAX_WATCHED = 2
    await world.watch(2)
    await world.watch(2, 3)
    with pytest.raises(WatchForbidden, match="may watch 2 users"):
        await world.watch(4)
    assert len(world.watches) == 2


@pytest.mark.parametrize(
    ("allowed", "pks", "is_allowed"),
    [
        (True, [2, 3], True),
        (False, [2], False),
        (None, [2], False),
        ((), [2], False),
        ([2], [2], True),
        ([2], [2, 3], False),
        pytest.param(iter([2, 3]), [2, 3], True, id="an iterator"),
        ([2, 3, 4], [2], True),
        (False, [1], True),  # oneself
        ([2], [1, 2], True),
    ],
    ids=repr,
)
async def test_the_project_says_who_may_watch_whom(world, store, allowed, pks, is_allowed):
    """All or none of them; closed by default; oneself always."""
    asked = []
    world.user.ws_can_watch = lambda pks: asked.append(pks) or allowed
    if is_allowed:
        assert len(await world.watch(*pks)) == len(pks)
    else:
        with pytest.raises(WatchForbidden, match=r"ws_can_watch\(\)"):
            await world.watch(*pks)
        assert len(world.watches) == 0
    assert all(1 not in each for each in asked)


async def test_a_user_model_without_a_say_allows_nobody(world, store):
    """It has no mixin."""

    class Plain:
        pk = 1

    with pytest.raises(WatchForbidden):
        await world.watches.watch(Plain(), [2])
    await world.watches.watch(Plain(), [1])
