"""What the system checks of the package say."""

import pytest
from django.core.checks import run_checks

from tests.kit import channel_layers

#: A secret that nobody guesses.
STRONG = "0123456789-abcdefghijklmnopqrstuvwxyz"


def found():
    """Return what `check` says, as {id: message}."""
    return _by_id(run_checks(tags=["bazis_ws_channels"]))


def deployed():
    """Return what `check --deploy` says and `check` doesn't, as {id: message}."""
    messages = run_checks(tags=["bazis_ws_channels"], include_deployment_checks=True)
    return {id_: each for id_, each in _by_id(messages).items() if id_ not in found()}


def _by_id(messages):
    return {message.id.removeprefix("bazis_ws."): message for message in messages}


@pytest.fixture
def well_set_up(in_process, settings):
    """Let the channel layer be in a Redis, as the README says; nobody listens at its port."""
    settings.CHANNEL_LAYERS = channel_layers("redis://127.0.0.1:1")
