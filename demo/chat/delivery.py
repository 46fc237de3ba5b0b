"""Deliver every chat message: now, or when the recipient comes back.

A message is written before it is published, so nothing is lost. A process *claims* a message
before it publishes it, so nothing is delivered twice. A message that reached nobody is released
again. A session that opened meanwhile found it claimed and skipped it, so the process that
releases it checks once more whether the recipient is online.
"""

import logging
from typing import Any

from django.utils import timezone

from bazis_ws_channels.exceptions import PublishError

from .models import ChatMessage

__all__ = ["deliver_waiting", "send"]

log = logging.getLogger(__name__)

#: Attempts for one message while its recipient comes and goes.
ATTEMPTS = 3


def send(sender: Any, recipient: Any, text: str) -> bool:
    """Save a message and deliver it if possible. Return False if it waits for the next sign-in."""
    message = ChatMessage.objects.create(
        sender=sender, recipient=recipient, text=text, claimed_at=timezone.now()
    )
    if not deliver_waiting(recipient):
        _release(message)  # earlier messages must be delivered first
        return False
    return _deliver(message)


def deliver_waiting(user: Any) -> bool:
    """Deliver messages saved for `user`. Return False if the user has no connection."""
    waiting = ChatMessage.objects.waiting_for(user).select_related("sender", "recipient")
    for message in waiting:
        if ChatMessage.objects.claim(user, message.pk) and not _deliver(message):
            return False
    return True


def _deliver(message: ChatMessage) -> bool:
    """Publish a message that this process has claimed."""
    for _ in range(ATTEMPTS):
        if _publish(message):
            ChatMessage.objects.filter(pk=message.pk).update(delivered_at=timezone.now())
            return True
        _release(message)
        if not message.recipient.is_online:
            return False
        if not ChatMessage.objects.claim(message.recipient, message.pk):
            return True  # the session that has just opened took it
    _release(message)
    return False


def _publish(message: ChatMessage) -> bool:
    # To somebody who is away it would be recorded: replayed to who comes back, and saved as well.
    if not message.recipient.is_online:
        return False
    try:
        return message.recipient.ws_publish(message.as_event()) > 0
    except PublishError as error:
        log.warning("chat message %s saved for later: %s", message.pk, error)
        return False


def _release(message: ChatMessage) -> None:
    ChatMessage.objects.filter(pk=message.pk, delivered_at=None).update(claimed_at=None)
