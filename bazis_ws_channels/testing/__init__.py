"""For the tests of projects: what is published stays in the process, and can be looked at.

Needs neither Redis nor a server; works sync and async, with Django's `TestCase` and with pytest
(fixtures `ws_outbox` and `ws_online`). See docs/testing.md.
"""

from .cases import WsDiscoverRunner, WsTestMixin
from .client import WsClient
from .isolation import isolate
from .outbox import (
    Outbox,
    Published,
    assert_broadcast,
    assert_not_published,
    assert_published,
    assert_published_anonymous,
    capture,
)
from .presence import online

__all__ = [
    "Outbox",
    "Published",
    "WsClient",
    "WsDiscoverRunner",
    "WsTestMixin",
    "assert_broadcast",
    "assert_not_published",
    "assert_published",
    "assert_published_anonymous",
    "capture",
    "isolate",
    "online",
]
