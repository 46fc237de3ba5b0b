"""What several commands need: a user, JSON, a word about the channel layer."""

from __future__ import annotations

import json
from typing import Any

from channels.layers import InMemoryChannelLayer
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from ...sending import channel_layer

__all__ = ["find_user", "mention_one_process", "parse_json"]


def find_user(name: str) -> Any:
    """Return the user by username, else by primary key.

    Raises:
        CommandError: there is none.
    """
    model: Any = get_user_model()
    for field in (model.USERNAME_FIELD, "pk"):
        try:
            return model._default_manager.get(**{field: name})
        except (model.DoesNotExist, ValueError, ValidationError):
            continue
    raise CommandError(f"There is no user {name!r}, by {model.USERNAME_FIELD} or primary key.")


def parse_json(text: str) -> Any:
    """Return the value of a JSON argument.

    Raises:
        CommandError: it isn't JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"Not JSON: {error}. Quote it for the shell: '{{\"a\": 1}}'.") from None


def mention_one_process(command: BaseCommand) -> None:
    """Say that nobody hears the command where the channel layer is that of one process."""
    if isinstance(channel_layer(), InMemoryChannelLayer):
        command.stderr.write(
            "The channel layer is in memory: it serves one process, and this command is another."
            " Set CHANNEL_LAYERS to one in Redis, or publish in the server's process."
        )
