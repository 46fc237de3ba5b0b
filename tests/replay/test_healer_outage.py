"""Streams that can't be read for a while: said once, and so is the end of it."""

from bazis_ws_channels.history.healer import Healer
from bazis_ws_channels.redis.hosts import Host
from tests.kit import Redis, until


async def nobody(channel, event, data):
    """Give a message to nobody."""
    return 0


async def test_an_outage_is_logged_once_and_so_is_its_end(caplog):
    """At the same level, however often it was tried."""
    with Redis() as server:
        host = Host({"address": server.url})
        healer = Healer(lambda channel: host, bytes.decode, nobody, lambda *args: None)
        healer.follow(["one", "two"])
        server.stop()
        healer.heal()
        await until(lambda: "can't be read yet" in caplog.text)
        server.start()
        await until(lambda: "can be read again" in caplog.text)
        said = [record for record in caplog.records if "What was missed" in record.message]
        assert [record.levelname for record in said] == ["ERROR", "ERROR"]
        assert said[0].message.startswith("What was missed can't be read yet")
        assert said[1].message == "What was missed can be read again."
        await healer.close()
