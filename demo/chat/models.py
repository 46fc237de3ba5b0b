"""Chat messages, kept until somebody has them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

__all__ = ["ChatMessage"]

#: A claim of a process that died before it published counts no more after this.
CLAIM_LIFETIME = timedelta(seconds=30)


class ChatMessageQuerySet(models.QuerySet["ChatMessage"]):
    def waiting_for(self, user: Any) -> "ChatMessageQuerySet":
        """What `user` should still get, oldest first, and nobody is delivering now."""
        stale = timezone.now() - CLAIM_LIFETIME
        free = Q(claimed_at=None) | Q(claimed_at__lt=stale)
        return self.filter(free, recipient=user, delivered_at=None).order_by("pk")

    def claim(self, user: Any, pk: int) -> bool:
        """Take one message for delivery; of several who try at once, one gets it."""
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
        """What the recipient's sockets get."""
        return {
            "type": "chat_message",
            "sender": {"id": self.sender_id, "username": self.sender.get_username()},
            "message": self.text,
            "timestamp": self.sent_at,
        }
