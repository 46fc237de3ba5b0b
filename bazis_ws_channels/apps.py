"""The Django app."""

from importlib.util import find_spec

from django.apps import AppConfig
from django.core import checks

__all__ = ["BazisWsChannelsConfig"]


class BazisWsChannelsConfig(AppConfig):
    """Registers the system checks and the receivers that end sessions."""

    name = "bazis_ws_channels"
    verbose_name = "User WebSockets"

    def ready(self) -> None:
        """Wire the signals and the checks."""
        from .auth.receivers import connect_receivers
        from .checks import ALL_CHECKS
        from .deploy_checks import ALL_CHECKS as DEPLOY_CHECKS

        for check in ALL_CHECKS:
            checks.register(check, "bazis_ws_channels")
        for check in DEPLOY_CHECKS:
            checks.register(check, "bazis_ws_channels", deploy=True)
        connect_receivers()
        _register_metrics()


def _register_metrics() -> None:
    """Add the metrics to prometheus_client's registry, where that is installed."""
    if find_spec("prometheus_client") is not None:
        from .metrics import register

        register()
