"""Deliver every chat message: now, or when the recipient comes back.

A message is written before it is published, so nothing is lost. A process *claims* messages
before it publishes them, so nothing is delivered twice. What reached nobody is released again. A
session that opened meanwhile found it claimed and skipped it, so the process that releases it
asks once more whether the recipient is online.
"""

import logging
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from bazis_ws_channels.exceptions import PublishError

from .models import ChatMessage

__all__ = ["deliver_batch", "send"]

log = logging.getLogger(__name__)

#: Few enough to take some milliseconds: other sign-ins use the database in between.
BATCH = 50


def send(sender: Any, recipient: Any, text: str, key: UUID | None = None) -> ChatMessage:
    """Save a message, deliver it if possible, and show it in the sender's other tabs.

    Args:
        key: names the message, so that it can be sent again when an answer got lost.
    """
    message, _ = ChatMessage.objects.get_or_create(
        sender=sender, key=key or uuid4(), defaults={"recipient": recipient, "text": text}
    )
    while deliver_batch(message.recipient):  # earlier messages must be delivered first
        pass
    message.refresh_from_db(fields=["claimed_at", "delivered_at"])
    # With `on_commit` a failure is logged and not raised: the message itself is saved.
    sender.ws_publish(message.as_sent(), on_commit=True)
    return message


def deliver_batch(user: Any) -> bool:
    """Deliver the oldest messages that wait for `user`. Return whether to call it again."""
    # To somebody who is away it would be recorded: replayed to who comes back, and saved as well.
    if not user.is_online:
        return False
    batch = ChatMessage.objects.claim(user, BATCH)
    delivered = 0
    try:
        for message in batch:
            connections = user.ws_publish(message.as_received())
            if connections == 0:
                break  # the last one has just gone
            delivered += 1
    except PublishError as error:
        log.warning("messages of user %s are saved for later: %s", user.pk, error)
        return False
    finally:
        ChatMessage.objects.among(batch[:delivered]).update(delivered_at=timezone.now())
        ChatMessage.objects.among(batch[delivered:]).update(claimed_at=None)
    return bool(batch)
