"""The package's consumer. It also delivers messages that were saved while the user was away."""

import logging

from channels.db import database_sync_to_async
from django.db import Error

from bazis_ws_channels.consumers import UserWsConsumer

from .delivery import deliver_batch

__all__ = ["ChatConsumer"]

log = logging.getLogger(__name__)


class ChatConsumer(UserWsConsumer):
    """Deliver saved messages at every beginning of a session.

    The signal `user_online` would not do: a user who comes back within the grace (a reload) never
    went offline, but may have missed a message all the same.
    """

    async def session_started(self) -> None:
        user = self.scope["user"]
        try:
            # All consumers of a process share one thread for the database: take turns.
            while await database_sync_to_async(deliver_batch)(user):
                pass
        except Error:
            log.exception("saved messages of user %s stay where they are", user.pk)
