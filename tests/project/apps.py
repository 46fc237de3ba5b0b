"""The test project's app."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Listens to the presence signals, for tests that look at a server's log of them."""

    name = "tests.project"
    label = "project"

    def ready(self):
        """Connect the receivers."""
        from . import receivers  # noqa: F401
