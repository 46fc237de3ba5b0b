"""For Django's own test runner."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from unittest import TestCase, TestResult
from unittest.mock import ANY

from django.test.runner import DiscoverRunner

from .isolation import isolate
from .outbox import Outbox, capture

__all__ = ["WsDiscoverRunner", "WsTestMixin"]


class WsTestMixin(TestCase):
    """Put it before `TestCase`: nothing leaves the process, and `self.ws_outbox` is what was
    published since the test's `setUp` began.
    """

    ws_outbox: Outbox

    @classmethod
    def setUpClass(cls) -> None:
        """Isolate what the class prepares, too."""
        cls.enterClassContext(isolate())
        super().setUpClass()

    def run(self, result: TestResult | None = None) -> TestResult | None:
        """Run the test within a `capture`, whatever its `setUp` forgets to call."""
        with isolate(anew=True), capture() as self.ws_outbox:
            return super().run(result)

    def assert_published(self, user: Any, data: Any = ANY, count: int | None = 1) -> None:
        """Assert that a message was published to a user; see `Outbox.assert_published`."""
        self.ws_outbox.assert_published(user, data, count)

    def assert_published_anonymous(
        self, token: str, data: Any = ANY, count: int | None = 1
    ) -> None:
        """Assert that a message was published to anonymous sessions; see
        `Outbox.assert_published_anonymous`.
        """
        self.ws_outbox.assert_published_anonymous(token, data, count)

    def assert_broadcast(self, data: Any = ANY, count: int | None = 1) -> None:
        """Assert that a message was published to everybody; see `Outbox.assert_broadcast`."""
        self.ws_outbox.assert_broadcast(data, count)

    def assert_not_published(self, user: Any = None, data: Any = ANY) -> None:
        """Assert that nothing was published; see `Outbox.assert_not_published`."""
        self.ws_outbox.assert_not_published(user, data)


class WsDiscoverRunner(DiscoverRunner):
    """Django's test runner, which lets nothing leave the process, whatever a test forgets:
    ``TEST_RUNNER = "bazis_ws_channels.testing.WsDiscoverRunner"``.
    """

    def setup_test_environment(self, **kwargs: Any) -> None:
        """Isolate the whole run; workers of ``--parallel`` inherit it where they are forked."""
        super().setup_test_environment(**kwargs)
        self._isolation = ExitStack()
        self._isolation.enter_context(isolate())

    def teardown_test_environment(self, **kwargs: Any) -> None:
        """End the isolation."""
        self._isolation.close()
        super().teardown_test_environment(**kwargs)
