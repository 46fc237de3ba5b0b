"""Chat messages, kept until they are delivered."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

__all__ = ["ChatMessage"]

#: Time after which a claim expires: its process died before publishing.
CLAIM_LIFETIME = timedelta(seconds=30)


class ChatMessageQuerySet(models.QuerySet["ChatMessage"]):
    def waiting_for(self, user: Any) -> "ChatMessageQuerySet":
        """Return messages for `user` that are undelivered and unclaimed, oldest first."""
        stale = timezone.now() - CLAIM_LIFETIME
        free = Q(claimed_at=None) | Q(claimed_at__lt=stale)
        return self.filter(free, recipient=user, delivered_at=None).order_by("pk")

    def claim(self, user: Any, pk: int) -> bool:
        """Claim a message for delivery. If several processes try at once, one succeeds."""
        return bool(self.waiting_for(user).filter(pk=pk).update(claimed_at=timezone.now()))


class ChatMessage(models.Model):
    sender = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sent_messages"
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="received_messages"
    )
    text = models.TextField(max_length=4000)
    sent_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True, editable=False)
    delivered_at = models.DateTimeField(null=True, editable=False)

    objects = ChatMessageQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(
                fields=("recipient",), condition=Q(delivered_at=None), name="chat_waiting"
            ),
        )

    def __str__(self) -> str:
        return f"{self.sender_id} to {self.recipient_id} at {self.sent_at:%Y-%m-%d %H:%M:%S}"

    def as_event(self) -> dict[str, Any]:
        """Return the message as the recipient's sockets get it."""
        return {
            "type": "chat_message",
            "sender": {"id": self.sender_id, "username": self.sender.get_username()},
            "message": self.text,
            "timestamp": self.sent_at,
        }
