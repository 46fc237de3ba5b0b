"""What is wrong with Redis is said as it is, wherever it is met."""

import asyncio
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from bazis_ws_channels import presence
from bazis_ws_channels.exceptions import PresenceUnavailable, PublishError
from bazis_ws_channels.publishing import publish


def refused(user, match):
    """Check what a write of sync and of async code says."""
    with pytest.raises(PresenceUnavailable, match=match):
        user.ws_disconnect()
    with pytest.raises(PresenceUnavailable, match=match):
        async_to_sync(user.ws_adisconnect)()


def test_out_of_memory(own_redis, use, alice):
    """Not "out of reach"; publishing needs no memory, and goes on."""
    valkey = own_redis(maxmemory="1mb", **{"maxmemory-policy": "noeviction"})
    use(valkey.url)
    refused(alice, "Redis is out of memory")
    assert publish([alice], "x") == 0


def test_a_replica_without_a_primary(own_redis, use, alice):
    """Reading works; whatever writes says why it can't."""
    primary, replica = own_redis(), own_redis()
    replica.client.replicaof("127.0.0.1", primary.port)
    use(replica.url)
    refused(alice, "read-only replica")
    assert presence.online([alice]) == set()


def test_an_acl(valkey, use, alice):
    """Names the command that it forbids, and where to read which are needed."""
    use(valkey.url)
    valkey.client.execute_command("ACL", "SETUSER", "default", "-evalsha", "-publish")
    refused(alice, r"forbids a command or key .*docs/deployment.md.*evalsha")
    with pytest.raises(PublishError, match="forbids a command or key"):
        publish([alice], "x")


@pytest.mark.parametrize("login", ["", ":wrong@"])
def test_a_password(own_redis, use, alice, login):
    """None, or a wrong one."""
    valkey = own_redis()
    valkey.client.config_set("requirepass", "right")
    use(valkey.url.replace("//", f"//{login}"))
    refused(alice, "refuses the user name or password")
    with pytest.raises(PublishError, match="refuses the user name or password"):
        publish([alice], "x")


def test_out_of_reach(valkey, use, alice):
    """Only then it is said."""
    use(valkey.url)
    valkey.stop()
    refused(alice, "Redis is out of reach")


# --- a Redis that hangs ----------------------------------------------------------------------


def test_a_publish_fails_in_its_time_and_then_at_once(valkey, use, alice):
    """3 seconds at most (BAZIS_WS_PUBLISH_TIMEOUT), then a second without trying."""
    use(valkey.url)
    assert publish([alice], "x") == 0
    valkey.pause()
    assert seconds_of(publish, alice) > 1
    assert seconds_of(publish, alice) < 0.1


def seconds_of(send, user):
    """Return how long a publish takes that fails."""
    started_at = time.monotonic()
    with pytest.raises(PublishError):
        send([user], "x")
    seconds = time.monotonic() - started_at
    assert seconds < 3 + 0.5
    return seconds


async def test_fifty_threads_are_not_held_up(valkey, use, alice):
    """They share what one has found out."""
    use(valkey.url)
    await sync_to_async(publish)([alice], "x")
    valkey.pause()
    await asyncio.to_thread(seconds_of, publish, alice)
    started_at, done = time.monotonic(), 0

    def work():
        nonlocal done
        while time.monotonic() - started_at < 6:
            try:
                publish([alice], "x")
            except PublishError:
                done += 1
            time.sleep(0.01)  # the rest of a request: else the threads only wait for the GIL

    await asyncio.gather(*(asyncio.to_thread(work) for _ in range(50)))
    rate = done / (time.monotonic() - started_at)
    print(f"{rate:.0f} failing publishes a second, of 50 threads")
    assert rate > 100
