"""``python -m tests.presence.future``: daphne with a clock that is an hour fast."""

import time

_true_time = time.time
time.time = lambda: _true_time() + 3600

from daphne.cli import CommandLineInterface  # noqa: E402

CommandLineInterface.entrypoint()
