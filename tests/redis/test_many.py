"""Very many users: in rounds that hold up neither Redis nor the event loop."""

import asyncio

import pytest

from bazis_ws_channels import presence
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Register, Restore
from bazis_ws_channels.publishing import apublish, publish

USERS = 20_000


@pytest.fixture
def valkey_with_users(valkey, use, unhurried):
    """Every tenth user is online."""
    use(valkey.url)
    get_store().ask(Register("p", 60_000))
    for start in range(0, USERS, 5000):
        records = [(f"c{pk}", str(pk)) for pk in range(start, start + 5000, 10)]
        get_store().ask(Restore("p", "none", records))
    return valkey


@pytest.mark.django_db
def test_sync_code(valkey_with_users):
    """Right, and no script gets more than a round."""
    valkey = valkey_with_users
    ids = list(range(USERS))
    online = set(range(0, USERS, 10))
    assert presence.online(ids) == presence.online_users() == online
    statuses = presence.statuses(ids)
    assert {pk for pk, status in statuses.items() if status.is_online} == online
    assert list(statuses) == ids
    assert presence.count(ids * 2) == publish(ids * 2, "x") == len(online)
    scripts = valkey.client.info("commandstats")["cmdstat_evalsha"]
    assert scripts["calls"] >= 4 * USERS / 2000


@pytest.mark.django_db
async def test_an_event_loop(valkey_with_users):
    """It has its turns all the time."""
    ids = list(range(USERS))
    online = set(range(0, USERS, 10))
    for call, expected in (
        (presence.aonline(ids), online),
        (presence.acount(ids), len(online)),
        (apublish(ids, "x"), len(online)),
    ):
        task, turns = asyncio.ensure_future(call), 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert task.result() == expected
        assert turns > 2 * USERS / 2000
