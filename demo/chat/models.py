"""Chat messages: the conversation, and which of them still wait for their recipient."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

__all__ = ["ChatMessage"]

#: Time after which a claim expires: its process died before publishing.
CLAIM_LIFETIME = timedelta(seconds=30)


class ChatMessageQuerySet(models.QuerySet["ChatMessage"]):
    def latest_of(self, user: Any, limit: int) -> list["ChatMessage"]:
        """Return the latest messages from and to `user`, oldest first."""
        own = self.filter(Q(sender=user) | Q(recipient=user)).select_related("sender", "recipient")
        return list(own.order_by("-pk")[:limit])[::-1]

    def waiting_for(self, user: Any) -> "ChatMessageQuerySet":
        """Return messages for `user` that are undelivered and unclaimed, oldest first."""
        stale = timezone.now() - CLAIM_LIFETIME
        free = Q(claimed_at=None) | Q(claimed_at__lt=stale)
        return self.filter(free, recipient=user, delivered_at=None).order_by("pk")

    @transaction.atomic
    def claim(self, user: Any, limit: int) -> list["ChatMessage"]:
        """Claim the oldest waiting messages. Of several processes, each gets others."""
        waiting = self.waiting_for(user).select_related("sender")
        batch = list(waiting.select_for_update(skip_locked=True, of=("self",))[:limit])
        self.among(batch).update(claimed_at=timezone.now())
        return batch

    def among(self, messages: list["ChatMessage"]) -> "ChatMessageQuerySet":
        """Return the rows of `messages`."""
        return self.filter(pk__in=[message.pk for message in messages])


class ChatMessage(models.Model):
    sender = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sent_messages"
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="received_messages"
    )
    text = models.TextField(max_length=4000)
    #: Made by the sender's page. The same key again is the same message, tried again.
    key = models.UUIDField(null=True, editable=False)
    sent_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True, editable=False)
    delivered_at = models.DateTimeField(null=True, editable=False)

    objects = ChatMessageQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("sender", "key"), name="chat_sent_once"),)
        indexes = (
            models.Index(
                fields=("recipient",), condition=Q(delivered_at=None), name="chat_waiting"
            ),
        )

    def __str__(self) -> str:
        return f"{self.sender_id} to {self.recipient_id} at {self.sent_at:%Y-%m-%d %H:%M:%S}"

    @property
    def status(self) -> str:
        """``sent``, also while a process delivers it, or ``saved_offline``."""
        return "sent" if self.delivered_at or self.claimed_at else "saved_offline"

    def as_seen_by(self, user: Any) -> dict[str, Any]:
        """Return the message as sender or recipient gets it."""
        return self.as_sent() if user.pk == self.sender_id else self.as_received()

    def as_received(self) -> dict[str, Any]:
        """Return the message as the recipient gets it."""
        return {"type": "chat_message", "sender": named(self.sender), **self._content()}

    def as_sent(self) -> dict[str, Any]:
        """Return the message as the sender's own tabs get it."""
        return {
            "type": "chat_sent",
            "recipient": named(self.recipient),
            "key": self.key,
            "status": self.status,
            **self._content(),
        }

    def _content(self) -> dict[str, Any]:
        return {"id": self.pk, "message": self.text, "timestamp": self.sent_at}


def named(user: Any) -> dict[str, Any]:
    return {"id": user.pk, "username": user.get_username()}
