"""Arguments that several commands take: a user, JSON."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

__all__ = ["find_user", "parse_json"]


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
