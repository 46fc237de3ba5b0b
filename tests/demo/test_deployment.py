"""The demo without its command: daphnes side by side, and servers that go away."""

import pytest

from tests.demo.people import Socket, call, id_of, token_of
from tests.kit import wait_until


@pytest.fixture(scope="module")
def servers(deployment):
    """Two processes, one Redis, one database."""
    return deployment.daphne(), deployment.daphne()


def send(server, token, pk, text):
    return call(server, "chat/send/", {"recipient_id": pk, "message": text}, token)


def test_processes_are_one_place(servers):
    """Chat, presence and announcements cross from one to the other."""
    first, second = servers
    alice, bob, admin = (token_of(first, name) for name in ("alice", "bob", "admin"))
    pk = id_of(first, "bob", alice)
    with Socket(second, bob) as socket, Socket(first, bob) as other:
        assert send(first, alice, pk, "hello") == (200, {"status": "sent"})
        for each in (socket, other):
            assert each.data()["message"] == "hello"
        assert call(first, f"users/user/{pk}/", token=alice)[1]["data"]["attributes"]["is_online"]
        assert call(first, "broadcast/", {"message": "Lunch"}, admin)[0] == 200
        assert socket.data() == {"type": "broadcast", "message": "Lunch"}


def test_presence_is_told_across_processes(servers):
    """To those who watch."""
    first, second = servers
    alice, carol = token_of(first, "alice"), token_of(second, "carol")
    pk = id_of(first, "carol", alice)
    with Socket(first, alice) as socket:
        socket.send({"type": "watch", "users": [pk]})
        assert socket.receive_type("presence")["is_online"] is False
        with Socket(second, carol):
            message = socket.receive_type("presence")
            assert (message["user"], message["is_online"]) == (pk, True)
        assert socket.receive_type("presence")["is_online"] is False


def test_a_page_of_users_costs_one_round_trip(servers, deployment):
    """However many users are on it."""
    client = deployment.redis.client
    token = token_of(servers[0], "alice")
    call(servers[0], "users/user/", token=token)  # connections and scripts are there after this

    def scripts():
        stats = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))

    def cost(path):
        before = scripts()
        assert call(servers[0], path, token=token)[0] == 200
        return scripts() - before

    # One more asks whether the token was revoked; processes renew their leases meanwhile.
    assert min(cost("users/user/") for _ in range(5)) == 2


def test_many_saved_messages_hold_up_nobody(deployment, servers):
    """While thousands go to one user, others sign in at the same process; all arrive, in order."""
    server = servers[0]
    bob, carol = (token_of(server, name) for name in ("bob", "carol"))
    sender, recipient = (id_of(server, name, bob) for name in ("alice", "carol"))
    texts = [str(number) for number in range(2500)]
    deployment.execute(
        "INSERT INTO chat_chatmessage (sender_id, recipient_id, text, sent_at) VALUES (?, ?, ?, ?)",
        *((sender, recipient, text, "2026-01-01 00:00:00") for text in texts),
    )
    with Socket(server, carol) as socket:
        got = [socket.data()["message"]]
        with Socket(server, bob):  # this returns when bob's session is live
            waiting = "SELECT count(*) FROM chat_chatmessage WHERE delivered_at IS NULL"
            [(left,)] = deployment.execute(waiting)
        got += [socket.data()["message"] for _ in texts[1:]]
    assert got == texts
    assert left > 0


def test_without_redis_chat_is_saved(deployment, servers):
    """And delivered once Redis is back and the recipient signs in."""
    first, second = servers
    alice, bob = token_of(first, "alice"), token_of(first, "bob")
    admin = token_of(first, "admin")
    pk = id_of(first, "bob", alice)
    deployment.redis.stop()
    try:
        for number in range(2):
            assert send(first, alice, pk, f"saved {number}") == (200, {"status": "saved_offline"})
        status, document = call(first, "users/user/", token=alice)
        assert status == 200
        assert not any(each["attributes"]["is_online"] for each in document["data"])
        assert call(first, "broadcast/", {"message": "x"}, admin)[0] == 503
        assert call(first, "tasks/", {}, alice)[0] == 503
        assert call(first, "token/", {"username": "alice", "password": "demo"})[0] == 200
    finally:
        deployment.redis.start()

    def saved():
        with Socket(second, bob) as socket:
            return [socket.data()["message"] for _ in range(2)]

    def is_live():
        try:
            with Socket(second, alice):
                return True
        except Exception:
            return False

    wait_until(is_live)
    assert saved() == ["saved 0", "saved 1"]
