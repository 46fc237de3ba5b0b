"""The route of the WebSocket: ``/ws``, with or without a slash at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.urls import re_path

from .consumers import UserWsConsumer

__all__ = ["serves_sockets", "websocket_urlpatterns"]

websocket_urlpatterns = [re_path(r"^ws/?$", UserWsConsumer.as_asgi(), name="ws")]


def serves_sockets(application: Any) -> bool | None:
    """Tell whether an ASGI application routes WebSockets to a consumer of this package; None where
    a part of it can't be looked into.
    """
    parts, is_all_known = [application], True
    while parts:
        part = parts.pop()
        consumer = getattr(part, "consumer_class", None)
        if isinstance(consumer, type):
            if issubclass(consumer, UserWsConsumer):
                return True
        elif isinstance(mapping := getattr(part, "application_mapping", None), Mapping):
            parts += [mapping["websocket"]] if "websocket" in mapping else []
        elif isinstance(routes := getattr(part, "routes", None), list | tuple):
            parts += [getattr(route, "callback", None) for route in routes]
        elif (inner := getattr(part, "inner", getattr(part, "application", None))) is not None:
            parts.append(inner)  # a middleware
        elif not isinstance(part, ASGIHandler):
            is_all_known = False
    return False if is_all_known else None
