"""The tests' fixtures; see `environment.py` for the servers that they need."""

import os

import pytest

pytest_plugins = ["tests.fixtures"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Take the place of the fixture that renames the database: `environment` has named it."""


@pytest.fixture(scope="session")
def django_db_keepdb(request):
    """Leave the database where its server is the tests' own, and ends with them: a thread that is
    still connected would keep PostgreSQL from dropping it.
    """
    return "TEST_POSTGRES" in os.environ or request.config.getvalue("reuse_db")
