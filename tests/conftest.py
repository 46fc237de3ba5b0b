"""The tests' fixtures; see `environment.py` for the servers that they need."""

import pytest

pytest_plugins = ["tests.fixtures"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Take the place of the fixture that renames the database: `environment` has named it."""
