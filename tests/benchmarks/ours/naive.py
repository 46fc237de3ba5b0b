"""What looking again costs where each connection does it by itself, as is commonly written:
once a period a query for the user, and a question to Redis whether the token is revoked.
"""

import asyncio
import os
import random

from django.contrib.auth import get_user_model

from bazis_ws_channels.consumers import UserWsConsumer
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Revoked

PERIOD_SECONDS = float(os.environ.get("BENCH_NAIVE_SECONDS", "0"))


class NaiveConsumer(UserWsConsumer):
    """Looks again, one connection at a time."""

    async def session_started(self):
        """Look again for as long as the session lasts."""
        users, identity = get_user_model().objects, self.session.identity
        await asyncio.sleep(random.uniform(0, PERIOD_SECONDS))
        while True:
            user = await users.filter(pk=self.session.pk, is_active=True).afirst()
            [is_revoked] = await get_store().aask(Revoked([(identity.key, identity.token)]))
            if user is None or is_revoked:
                return await self.fail("invalid_token", "Ended", 4401)
            await asyncio.sleep(PERIOD_SECONDS)
