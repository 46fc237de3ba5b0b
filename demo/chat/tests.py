"""The demo's own tests, as a project writes them: without Redis and without a server."""

from unittest.mock import ANY

from django.contrib.auth import get_user_model
from django.test import TestCase, TransactionTestCase

from bazis_ws_channels.testing import WsClient, WsTestMixin, online

from .models import ChatMessage


def make_user(name, **fields):
    return get_user_model().objects.create_user(name, password="demo", **fields)


class ChatTests(WsTestMixin, TestCase):
    def setUp(self):
        self.alice, self.bob = make_user("alice"), make_user("bob")

    def send(self, text):
        return self.client.post(
            "/api/v1/chat/send/",
            {"recipient_id": self.bob.pk, "message": text},
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.alice.ws_token()}"},
        ).json()

    def test_who_is_there_gets_it_at_once(self):
        with online(self.bob):
            self.assertEqual(self.send("Hi"), {"status": "sent"})
        self.assert_published(
            self.bob,
            {
                "type": "chat_message",
                "sender": {"id": self.alice.pk, "username": "alice"},
                "message": "Hi",
                "timestamp": ANY,
            },
        )
        self.assertIsNotNone(ChatMessage.objects.get().delivered_at)

    def test_who_is_away_gets_it_later(self):
        with online(self.alice):
            self.assertEqual(self.send("Hi"), {"status": "saved_offline"})
        self.assertIsNone(ChatMessage.objects.get().delivered_at)


class AnnouncementTests(WsTestMixin, TestCase):
    def announce(self, user):
        return self.client.post(
            "/api/v1/broadcast/",
            {"message": "Tea is ready"},
            content_type="application/json",
            headers={"Authorization": f"Bearer {user.ws_token()}"},
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
        for text in ("One", "Two"):
            await ChatMessage.objects.acreate(sender=alice, recipient=bob, text=text)
        async with WsClient(user=bob) as client:
            self.assertEqual((await client.receive_data())["message"], "One")
            self.assertEqual((await client.receive_data())["message"], "Two")
            await client.receive_nothing()
