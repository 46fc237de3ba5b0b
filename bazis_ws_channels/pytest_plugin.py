"""The pytest plugin: fixtures, and nothing leaves the process while tests run.

It comes by itself with the package (entry point ``pytest11``), and imports nothing of Django
before there are settings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing import Outbox

__all__ = ["pytest_addoption", "pytest_configure", "ws_online", "ws_outbox"]

_MARKER = "ws_not_isolated"
_INI = "bazis_ws_isolate"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    text = "Keep what is published, and who is online, in the process during every test."
    parser.addini(_INI, text, type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    text = f"{_MARKER}: this test publishes through the project's own channel layer"
    config.addinivalue_line("markers", text)


@pytest.fixture(autouse=True)
def _ws_isolation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let no message leave the process, whatever a test forgets, as Django does with mail."""
    is_wanted = request.config.getini(_INI) and not request.node.get_closest_marker(_MARKER)
    if not is_wanted or not _is_installed():
        yield
        return
    from .testing import isolate

    with isolate(anew=True):
        yield


@pytest.fixture
def ws_outbox() -> Iterator[Outbox]:
    """What is published during the test: a list, with assertions (`testing.Outbox`)."""
    from .testing import capture

    with capture() as outbox:
        yield outbox


@pytest.fixture
def ws_online() -> Iterator[Callable[..., None]]:
    """``ws_online(alice, bob)``: from now on these users are online, and nobody else."""
    from .testing import online

    with ExitStack() as stack:

        def only(*users: Any) -> None:
            stack.close()
            stack.enter_context(online(*users))

        only()
        yield only


def _is_installed() -> bool:
    """Tell whether this is a Django project that has the app."""
    django_apps = sys.modules.get("django.apps")
    return (
        django_apps is not None
        and django_apps.apps.ready
        and django_apps.apps.is_installed("bazis_ws_channels")
    )
