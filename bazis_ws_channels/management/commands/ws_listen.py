"""``manage.py ws_listen USER``."""

import asyncio
import contextlib
import json
from typing import Any

from channels.layers import InMemoryChannelLayer
from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from ...exceptions import WsError
from ...groups import common_group, user_group
from ...sending import channel_layer
from ...types import Event
from ._user import find_user


class Command(BaseCommand):
    """Print what is published to a user, as it comes."""

    help = (
        "Print what is published to a user (username or primary key) and to everybody, one JSON"
        " value a line, until Ctrl-C. The user does not count as online by it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare USER and --count."""
        parser.add_argument("user")
        text = "End after so many messages."
        parser.add_argument("--count", type=int, metavar="N", help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        """Listen."""
        user = find_user(options["user"])
        if isinstance(channel_layer(), InMemoryChannelLayer):
            raise CommandError(
                "The in-memory channel layer serves one process: what others publish can't be"
                " heard here. Set CHANNEL_LAYERS to one in Redis."
            )
        try:
            asyncio.run(self._listen(user, options["count"]))
        except (WsError, RedisError, OSError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            pass

    async def _listen(self, user: Any, count: int | None) -> None:
        layer = channel_layer()
        channel = await layer.new_channel()
        groups = (user_group(user.pk), common_group())
        try:
            for group in groups:
                await layer.group_add(group, channel)
            self.stderr.write(f"Listening to what is published to {user}. Ctrl-C ends.")
            self.stderr.flush()
            while count is None or count > 0:
                if self._show(await layer.receive(channel)) and count is not None:
                    count -= 1
        finally:
            for group in groups:
                with contextlib.suppress(RedisError, OSError):
                    await layer.group_discard(group, channel)

    def _show(self, event: Event) -> bool:
        """Print a message; False if the event is none."""
        if event["type"] == "ws.push":
            data = json.loads(event["text"])["data"]
            self.stdout.write(json.dumps(data, ensure_ascii=False))
            self.stdout.flush()
            return True
        if event["type"] == "ws.end":
            self.stderr.write(f"(The server ends sessions: {event['code']}.)")
        return False
