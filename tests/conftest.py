"""The tests' fixtures; see `environment.py` for the servers that they need."""

pytest_plugins = ["tests.fixtures"]
