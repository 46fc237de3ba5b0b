"""Callables that settings name by a dotted path."""

import time

from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.auth import get_user_model
from django.db import connection

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.routing import websocket_urlpatterns

CURRENT = "current-0123456789-abcdefghijklmnopq"


def by_kid(kid):
    """Return the key of a kid; None for one that nobody knows."""
    return {"current": CURRENT}.get(kid)


def from_database(kid):
    """Look into the database first, as a project that keeps keys there does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert get_user_model() is not None
    return CURRENT


def broken(kid):
    """Fail."""
    raise OSError("the key service is out of reach")


def slow(kid):
    """Take longer than a test's authentication timeout, as a slow key service does."""
    time.sleep(2)
    return CURRENT


#: One in which they sign in, and one that takes no notice of Django sessions.
by_sessions = ProtocolTypeRouter(
    {"websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns), sessions=True)}
)
without_cookies = ProtocolTypeRouter(
    {"websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))}
)
