"""`ws_publish`, `publish`, `broadcast`, `notify` and their async twins."""

import asyncio
import contextlib
import datetime
import decimal
import threading
import time
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext, gettext_lazy

from bazis_ws_channels import presence, publishing
from bazis_ws_channels.exceptions import (
    MessageTooBig,
    PresenceUnavailable,
    PublishError,
    WsError,
)
from tests.kit import Client, channel_layers, until


@contextlib.asynccontextmanager
async def online(server, *users):
    """Connect each of `users`."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for user in users:
            client = await stack.enter_async_context(Client(server.ws, user.ws_token()))
            await client.subscribed()
            clients.append(client)
        yield clients


def in_thread(function, *args, **kwargs):
    """Call `function` as sync code is called: in a thread without an event loop."""
    return asyncio.to_thread(function, *args, **kwargs)


async def presence_works(settings):
    """Wait until presence is asked again: after a failure it isn't, for a moment."""
    settings.BAZIS_WS_PRESENCE_ON_ERROR = "raise"

    async def works():
        with contextlib.suppress(PresenceUnavailable):
            return await presence.aonline_count() == 0

    await until(works)
    settings.BAZIS_WS_PRESENCE_ON_ERROR = "offline"


async def in_orm(function):
    """Call `function` where async code's ORM calls run."""
    return await sync_to_async(function)()


# --- who gets what -------------------------------------------------------------------------------


async def test_every_connection_of_the_user_gets_it_and_is_counted(server, alice, bob):
    """Sync and async; nobody else gets it."""
    async with online(server, alice, alice, bob) as (first, second, others):
        assert await in_thread(alice.ws_publish, {"n": 1}) == 2
        assert await alice.ws_apublish({"n": 2}) == 2
        for client in (first, second):
            assert [await client.data() for _ in range(2)] == [{"n": 1}, {"n": 2}]
        assert await others.settle() == []


async def test_publish_takes_instances_and_keys_and_counts_together(server, alice, bob):
    """Each user once, however often named."""
    async with online(server, alice, alice, bob) as clients:
        users = [alice, bob.pk, alice.pk, alice]
        assert await in_thread(publishing.publish, users, "sync") == 3
        assert await publishing.apublish(iter(users), "async") == 3
        for client in clients:
            assert [await client.data() for _ in range(2)] == ["sync", "async"]
            assert await client.settle() == []


async def test_a_queryset_is_several_users(server, alice, bob, django_user_model):
    """In async code too, where it may not be evaluated on the event loop."""
    async with online(server, alice, bob) as clients:
        users = django_user_model.objects.all()
        assert await in_orm(lambda: publishing.publish(users, 1)) == 2
        assert await publishing.apublish(users.all(), 2) == 2
        for client in clients:
            assert [await client.data() for _ in range(2)] == [1, 2]


async def test_nobody_is_nobody(server, alice):
    """No users, or nobody connected."""
    assert await in_thread(publishing.publish, [], 1) == 0
    assert await publishing.apublish([], 1) == 0
    assert await in_thread(alice.ws_publish, 1) == 0
    assert await in_thread(publishing.notify, [], lambda user: 1) == 0


async def test_ten_thousand_users_in_one_call(server, alice, bob):
    """Most of whom are away."""
    async with online(server, alice, bob) as clients:
        users = [*range(1_000_000, 1_010_000), alice, bob]
        assert await in_thread(publishing.publish, users, "all") == 2
        assert [await client.data() for client in clients] == ["all", "all"]


async def test_a_broadcast_reaches_everybody(server, alice, bob):
    """Sync and async."""
    async with online(server, alice, alice, bob) as clients:
        assert await in_thread(publishing.broadcast, {"n": 1}) is None
        assert await publishing.abroadcast({"n": 2}) is None
        for client in clients:
            assert [await client.data() for _ in range(2)] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "text", [], {}, [1, [2, {"a": None}]]])
async def test_any_json_value_arrives_as_it_is(server, alice, value):
    """`data` is the value itself."""
    async with online(server, alice) as [client]:
        await alice.ws_apublish(value)
        assert await client.data() == value


async def test_what_django_encodes_arrives_as_django_encodes_it(server, alice):
    """Dates, UUIDs, decimals, lazy strings."""
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.UTC)
    async with online(server, alice) as [client]:
        await alice.ws_apublish(
            {
                "moment": moment,
                "date": moment.date(),
                "lapse": datetime.timedelta(hours=1),
                "uuid": uuid.UUID(int=1),
                "price": decimal.Decimal("1.10"),
                "lazy": gettext_lazy("Yes"),
                "text": "żółć 🎉 </script> \u2028 \0",
                1: "an integer key",
            }
        )
        assert await client.data() == {
            "moment": "2026-01-02T03:04:05.678Z",
            "date": "2026-01-02",
            "lapse": "P0DT01H00M00S",
            "uuid": "00000000-0000-0000-0000-000000000001",
            "price": "1.10",
            "lazy": "Yes",
            "text": "żółć 🎉 </script> \u2028 \0",
            "1": "an integer key",
        }


async def test_a_lazy_string_is_in_the_publishers_language(server, alice):
    """The one that is active at the call, not the one of the thread that sends."""
    async with online(server, alice) as [client]:

        def publish():
            with translation.override("de"):
                alice.ws_publish(gettext_lazy("Yes"))

        await in_thread(publish)
        assert await client.data() == "Ja"


# --- notify --------------------------------------------------------------------------------------


async def test_notify_builds_for_each_user_in_the_users_language(server, make_user):
    """Also for users who are given by primary key, as a number or its string."""
    users = [
        await in_orm(lambda name=name: make_user(name, language=name))
        for name in ("de", "fr", "pl")
    ]

    def build(user):
        return {"to": user.username, "text": gettext("Yes")}

    async with online(server, *users) as clients:
        some = [users[0], users[1].pk, str(users[2].pk), 999_999]
        assert await publishing.anotify(some, build) == 3
        assert await in_orm(lambda: publishing.notify(some, build)) == 3
        for client, name, text in zip(
            clients, ("de", "fr", "pl"), ("Ja", "Oui", "Tak"), strict=True
        ):
            expected = {"to": name, "text": text}
            assert [await client.data() for _ in range(2)] == [expected, expected]
    assert translation.get_language() == "en"


async def test_notify_sends_nothing_unless_everything_was_built(server, alice, bob):
    """An error in `build` comes out as it is."""
    async with online(server, alice, bob) as [client, other]:

        def build(user):
            return {"half": 1 / (user.pk != bob.pk)}

        with pytest.raises(ZeroDivisionError):
            await publishing.anotify([alice, bob], build)
        with pytest.raises(ZeroDivisionError):
            await in_thread(publishing.notify, [alice, bob], build)
        assert await client.settle() == await other.settle() == []


# --- what can't be published ---------------------------------------------------------------------

loop = []
loop.append(loop)
UNFIT = [
    ({"a": [{"b": {1, 2}}]}, r"data\['a'\]\[0\]\['b'\] is of type set"),
    ({"a": object()}, r"data\['a'\] is of type object"),
    (b"bytes", "data is of type bytes"),
    ({"a": {(1, 2): 3}}, r"data\['a'\] has a key of type tuple: \(1, 2\)"),
    ({"a": float("nan")}, r"data\['a'\] is nan"),
    ([1, float("-inf")], r"data\[1\] is -inf"),
    ({"a": ["\ud800"]}, r"data\['a'\]\[0\] has a lone surrogate"),
    ({"a": {"\ud800": 1}}, r"data\['a'\] has a key with a lone surrogate"),
    (loop, r"data\[0\] contains itself"),
    (iter([1]), "data is of type list_iterator"),
    (10**5000, "data "),
]


@pytest.mark.parametrize(("data", "message"), UNFIT, ids=[message for _, message in UNFIT])
async def test_what_json_cannot_hold_is_named_and_nothing_is_sent(server, alice, data, message):
    """A TypeError says what and where."""
    async with online(server, alice) as [client]:
        for call in (
            lambda: alice.ws_publish(data),
            lambda: publishing.publish([alice], data),
            lambda: publishing.broadcast(data),
            lambda: publishing.notify([alice], lambda user: data),
            lambda: publishing.publish([alice], data, on_commit=True),
        ):
            with pytest.raises(TypeError, match=message):
                await in_orm(call)
        for call in (alice.ws_apublish, publishing.abroadcast):
            with pytest.raises(TypeError, match=message):
                await call(data)
        assert await client.settle() == []


async def test_a_model_instance_comes_with_advice(alice):
    """The most likely mistake of all."""
    with pytest.raises(TypeError, match=r"data\['user'\] is of type User.*serializer"):
        await in_thread(alice.ws_publish, {"user": alice})


async def test_deep_nesting_is_a_type_error(alice):
    """Not a RecursionError from inside."""
    data = 1
    for _ in range(100_000):
        data = [data]
    with pytest.raises(TypeError, match="nested too deeply"):
        await in_thread(alice.ws_publish, data)


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_message_at_the_limit_arrives_and_one_over_it_is_refused(
    server, alice, bob, settings, size
):
    """In bytes, not characters, and before anything is sent."""
    text = "ż" * size
    frame_bytes = len('{"type": "data", "data": ""}') + 2 * size
    async with online(server, alice) as [client]:
        settings.BAZIS_WS_MAX_MESSAGE_BYTES = frame_bytes
        assert await in_thread(alice.ws_publish, text) == 1
        settings.BAZIS_WS_MAX_MESSAGE_BYTES = frame_bytes - 1
        with pytest.raises(MessageTooBig) as caught:
            await in_thread(alice.ws_publish, text)
        assert (caught.value.size_bytes, caught.value.limit_bytes) == (frame_bytes, frame_bytes - 1)
        with pytest.raises(MessageTooBig):
            await publishing.anotify([bob, alice], lambda user: "" if user == bob else text)
        assert await client.data() == text
        assert await client.settle() == []


async def test_the_largest_message_by_default_arrives_under_daphne(server, alice):
    """Which could not send more than 1 MiB."""
    text = "x" * (1_000_000 - len('{"type": "data", "data": ""}'))
    async with online(server, alice) as [client]:
        await alice.ws_apublish(text)
        assert await client.data() == text
        with pytest.raises(MessageTooBig):
            await alice.ws_apublish(text + "x")


async def test_one_user_is_not_several(alice):
    """The mistake is named, in all of the functions."""
    for call in (
        lambda: publishing.publish(alice, 1),
        lambda: publishing.publish("alice", 1),
        lambda: publishing.notify(alice, lambda user: 1),
    ):
        with pytest.raises(TypeError, match="expected several users, got"):
            await in_orm(call)
    with pytest.raises(TypeError, match="expected several users, got"):
        await publishing.apublish(alice, 1)
    with pytest.raises(TypeError, match="expected several users, got"):
        await publishing.anotify(alice, lambda user: 1)


async def test_an_unsaved_user_has_no_connections_to_publish_to(django_user_model):
    """And no group either: not that of a user whose key is None."""
    with pytest.raises(ValueError, match="save it first"):
        await in_thread(django_user_model(username="new").ws_publish, 1)


# --- after the commit ----------------------------------------------------------------------------


async def test_on_commit_publishes_after_the_commit(server, alice):
    """Not before, and in the order of the calls."""
    async with online(server, alice) as [client]:
        started, go_on = threading.Event(), threading.Event()

        def write():
            with transaction.atomic():
                assert alice.ws_publish({"n": 1}, on_commit=True) == 0
                publishing.broadcast({"n": 2}, on_commit=True)
                publishing.notify([alice], lambda user: {"n": 3}, on_commit=True)
                started.set()
                go_on.wait(20)

        writing = asyncio.ensure_future(in_orm(write))
        await in_thread(started.wait, 20)
        assert await client.settle() == []
        go_on.set()
        await writing
        assert [(await client.data())["n"] for _ in range(3)] == [1, 2, 3]


async def test_on_commit_publishes_nothing_after_a_rollback(server, alice):
    """The whole point of it."""
    async with online(server, alice) as [client]:

        def write():
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                alice.ws_publish({"n": 1}, on_commit=True)
                raise ZeroDivisionError

        await in_orm(write)
        assert await client.settle() == []


async def test_on_commit_without_a_transaction_publishes_at_once(server, alice):
    """As Django's `on_commit` does; from async code too."""
    async with online(server, alice) as [client]:
        await in_orm(lambda: alice.ws_publish(1, on_commit=True))
        await alice.ws_apublish(2, on_commit=True)
        await publishing.abroadcast(3, on_commit=True)
        await publishing.anotify([alice], lambda user: 4, on_commit=True)
        assert [await client.data() for _ in range(4)] == [1, 2, 3, 4]


async def test_on_commit_never_fails_the_write(alice, valkey, settings, caplog):
    """Redis is down: the row is written, the failure logged, without the message's body."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    await asyncio.to_thread(valkey.stop)

    def write():
        with transaction.atomic():
            alice.first_name = "written"
            alice.save()
            alice.ws_publish({"secret": "s3cr3t"}, on_commit=True)

    await in_orm(write)
    await alice.arefresh_from_db()
    assert alice.first_name == "written"
    assert "Publishing 1 message(s) after the commit failed." in caplog.text
    assert "s3cr3t" not in caplog.text


# --- from where ----------------------------------------------------------------------------------


async def test_a_sync_call_on_an_event_loop_names_its_twin(alice):
    """It would block every connection of the process."""
    for call, twin in (
        (lambda: alice.ws_publish(1), "ws_apublish"),
        (lambda: publishing.publish([alice], 1), "apublish"),
        (lambda: publishing.broadcast(1), "abroadcast"),
        (lambda: publishing.notify([alice], lambda user: 1), "anotify"),
        (lambda: publishing.publish([alice], 1, on_commit=True), "apublish"),
        (lambda: publishing.broadcast(1, on_commit=True), "abroadcast"),
        (lambda: alice.ws_disconnect(), "ws_adisconnect"),
    ):
        with pytest.raises(SynchronousOnlyOperation, match=rf"await {twin}\("):
            call()


async def test_threads_publish_at_once_each_in_its_order(server, alice):
    """20 threads, 100 messages each."""
    async with online(server, alice) as [client]:

        def publish(thread):
            return [alice.ws_publish([thread, n]) for n in range(100)]

        counts = await asyncio.gather(*(in_thread(publish, thread) for thread in range(20)))
        assert counts == [[1] * 100] * 20
        received = [await client.data() for _ in range(2000)]
        for thread in range(20):
            assert [n for by, n in received if by == thread] == list(range(100))


async def test_one_task_publishes_in_order(server, alice):
    """One by one; broadcasts, for which nobody is counted, also at once."""
    async with online(server, alice) as [client]:
        for n in range(50):
            await alice.ws_apublish(n)
        await asyncio.gather(*(publishing.abroadcast(n) for n in range(50, 1000)))
        assert [await client.data() for _ in range(1000)] == list(range(1000))


# --- Redis is not there --------------------------------------------------------------------------


async def test_redis_down_is_a_publish_error_at_once(alice, valkey, settings):
    """Which says what is wrong."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    await asyncio.to_thread(valkey.stop)
    with pytest.raises(
        PublishError,
        match=r"Redis (is out of reach: ConnectionError|was out of reach less than a second ago)",
    ):
        await in_thread(alice.ws_publish, 1)
    with pytest.raises(
        PublishError,
        match=r"Redis (is out of reach: ConnectionError|was out of reach less than a second ago)",
    ):
        await publishing.abroadcast(1)
    assert issubclass(PublishError, WsError)


async def test_a_hanging_redis_is_a_publish_error_within_the_time_limit(alice, valkey, settings):
    """A view must not hang: neither on the message nor on the number of connections."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    settings.BAZIS_WS_PUBLISH_TIMEOUT = settings.BAZIS_WS_REDIS_TIMEOUT = 0.3
    await presence_works(settings)
    await alice.ws_apublish(1)
    await in_thread(alice.ws_publish, 1)
    valkey.pause()
    for call in (lambda: in_thread(alice.ws_publish, 1), lambda: alice.ws_apublish(1)):
        started_at = time.monotonic()
        with pytest.raises(PublishError, match=r"BAZIS_WS_PUBLISH_TIMEOUT|not tried again yet"):
            await call()
        assert time.monotonic() - started_at < 1.5


async def test_a_hanging_presence_does_not_hold_up_publishing(server, alice, valkey, settings):
    """It has a Redis of its own: messages arrive, their number is unknown."""
    settings.BAZIS_WS_REDIS_URL = valkey.url
    settings.BAZIS_WS_REDIS_TIMEOUT = 0.3
    await presence_works(settings)
    async with online(server, alice) as [client]:
        valkey.pause()
        for call in (lambda: in_thread(alice.ws_publish, 1), lambda: alice.ws_apublish(1)):
            started_at = time.monotonic()
            assert await call() == 0
            assert time.monotonic() - started_at < 1.5
            assert await client.data() == 1


async def test_publishing_goes_on_when_redis_goes_on(alice, valkey, settings):
    """With the connections that a time limit has cut."""
    settings.CHANNEL_LAYERS = channel_layers({"address": valkey.url, "socket_timeout": 0.2})
    await in_thread(alice.ws_publish, 1)
    valkey.pause()
    with pytest.raises(PublishError):
        await in_thread(alice.ws_publish, 1)
    valkey.resume()

    async def publish():
        try:
            return await in_thread(alice.ws_publish, 1) == 0
        except PublishError:  # for a second after a failure it isn't tried
            return False

    await until(publish)
