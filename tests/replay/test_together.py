"""Many users in one call: each stream is its own, though a script serves several."""

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import mail, publishing
from tests.replay.support import Socket

#: More than one call of the script takes.
MANY = 150


@pytest.fixture(params=["async", "sync"])
def publish(request):
    """`publish` in both colours."""
    if request.param == "async":
        return publishing.apublish
    return sync_to_async(publishing.publish, thread_sensitive=False)


async def test_each_gets_a_position_of_its_own(layer, alice, bob, publish):
    """Between users who are not here, and have no stream."""
    others = list(range(10_000, 10_000 + MANY))
    users = [*others[:50], alice, *others[50:], bob]
    async with Socket(alice.ws_token()) as alices, Socket(bob.ws_token()) as bobs:
        sinces = [(await socket.subscribed())["position"] for socket in (alices, bobs)]
        assert await publish([alice], "hers") == 1
        assert await publish(users, "all") == 2
        assert await publish(users, "not kept", record=False) == 2
        assert await alices.several(3) == ["hers", "all", "not kept"]
        assert await bobs.several(2) == ["all", "not kept"]
        offsets = [socket.position["user"].partition(".")[0] for socket in (alices, bobs)]
        assert offsets == ["2", "1"]
    for user, since, expected in zip((alice, bob), sinces, (["hers", "all"], ["all"]), strict=True):
        async with Socket(user.ws_token(), since) as socket:
            assert (await socket.subscribed())["recovered"] is True
            assert await socket.several(len(expected)) == expected


async def test_whoever_has_it_by_the_idempotency_key_does_not_get_it_again(
    layer, alice, bob, publish
):
    """Though others of the same call get it: a call that failed half-way."""
    others = list(range(10_000, 10_000 + MANY))
    async with Socket(alice.ws_token()) as alices, Socket(bob.ws_token()) as bobs:
        await alices.subscribed()
        await bobs.subscribed()
        once = publishing._digest("k")
        half = mail.Mail("user", {str(alice.pk): publishing._frame(1)}, True, once)
        for round_ in half.rounds():
            await mail._asend_round(round_)
        assert await alices.several(1) == [1]
        assert await publish([*others, alice, bob], 1, idempotency_key="k") == 2
        assert await bobs.several(1) == [1]
        assert await alices.settle() == []
        assert await bobs.settle() == []


async def test_each_in_a_language(layer, alice, bob):
    """`notify` sends different messages together."""
    async with Socket(alice.ws_token()) as alices, Socket(bob.ws_token()) as bobs:
        await alices.subscribed()
        await bobs.subscribed()
        assert await publishing.anotify([alice, bob], lambda user: user.username) == 2
        assert await alices.several(1) == ["alice"]
        assert await bobs.several(1) == ["bob"]
