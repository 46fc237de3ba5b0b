"""The demo's own tests, as a project writes them: without Redis and without a server."""

from unittest.mock import ANY
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.test import TestCase, TransactionTestCase

from bazis_ws_channels.testing import WsClient, WsTestMixin, online

from .delivery import BATCH
from .models import ChatMessage


def make_user(name, **fields):
    return get_user_model().objects.create_user(name, password="demo", **fields)


def bearer(user):
    return {"Authorization": f"Bearer {user.ws_token()}"}


class ChatTests(WsTestMixin, TestCase):
    def setUp(self):
        self.alice, self.bob = make_user("alice"), make_user("bob")

    def send(self, text, **fields):
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post(
                "/api/v1/chat/send/",
                {"recipient_id": self.bob.pk, "message": text, **fields},
                content_type="application/json",
                headers=bearer(self.alice),
            ).json()

    def history(self, user):
        return self.client.get("/api/v1/chat/history/", headers=bearer(user)).json()["messages"]

    def test_who_is_there_gets_it_at_once(self):
        with online(self.bob):
            self.assertEqual(self.send("Hi"), {"status": "sent"})
        self.assert_published(
            self.bob,
            {
                "type": "chat_message",
                "id": ANY,
                "sender": {"id": self.alice.pk, "username": "alice"},
                "message": "Hi",
                "timestamp": ANY,
            },
        )
        self.assertIsNotNone(ChatMessage.objects.get().delivered_at)

    def test_who_is_away_gets_it_later(self):
        with online(self.alice):
            self.assertEqual(self.send("Hi"), {"status": "saved_offline"})
        self.assert_not_published(self.bob)
        self.assertIsNone(ChatMessage.objects.get().delivered_at)

    def test_the_senders_other_tabs_show_it_too(self):
        key = str(uuid4())
        self.send("Hi", key=key)
        self.assert_published(
            self.alice,
            {
                "type": "chat_sent",
                "key": key,
                "message": "Hi",
                "recipient": {"id": self.bob.pk, "username": "bob"},
                "status": "saved_offline",
            },
        )

    def test_trying_again_sends_it_once(self):
        key = str(uuid4())
        with online(self.bob):
            self.assertEqual(self.send("Hi", key=key), {"status": "sent"})
            self.assertEqual(self.send("Hi", key=key), {"status": "sent"})
        self.assert_published(self.bob, {"message": "Hi"}, count=1)

    def test_history_is_the_conversation_as_each_has_seen_it(self):
        with online(self.bob):
            self.send("One")
            self.send("Two")
        kinds = {"alice": "chat_sent", "bob": "chat_message"}
        for user in (self.alice, self.bob):
            seen = [(each["type"], each["message"]) for each in self.history(user)]
            self.assertEqual(seen, [(kinds[user.username], text) for text in ("One", "Two")])
        self.assertEqual(self.history(make_user("carol")), [])


class AnnouncementTests(WsTestMixin, TestCase):
    def announce(self, user):
        return self.client.post(
            "/api/v1/broadcast/",
            {"message": "Tea is ready"},
            content_type="application/json",
            headers=bearer(user),
        )

    def test_staff_may_announce(self):
        self.assertEqual(self.announce(make_user("admin", is_staff=True)).status_code, 200)
        self.assert_broadcast({"type": "broadcast", "message": "Tea is ready"})

    def test_nobody_else_may(self):
        self.assertEqual(self.announce(make_user("alice")).status_code, 403)
        self.assert_not_published()


class SavedMessageTests(WsTestMixin, TransactionTestCase):
    async def test_what_was_saved_comes_at_the_next_sign_in(self):
        users = get_user_model().objects
        alice = await users.acreate_user("alice")
        bob = await users.acreate_user("bob")
        texts = [str(number) for number in range(BATCH + 1)]
        for text in texts:
            await ChatMessage.objects.acreate(sender=alice, recipient=bob, text=text)
        async with WsClient(user=bob) as client:
            self.assertEqual([(await client.receive_data())["message"] for _ in texts], texts)
            await client.receive_nothing()
