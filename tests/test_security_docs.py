"""docs/security.md and docs/deployment.md name tests that exist; the floors of pyproject.toml."""

import re
import tomllib

import pytest

from tests.kit import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text()
NAMED = re.findall(r"`(\w+/test_\w+\.py)(?:::(test_\w+))?`", PAGE + DEPLOYMENT)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_named_tests_exist(file, test):
    """A promise without its test is none."""
    source = (ROOT / "tests" / file).read_text()
    assert not test or re.search(rf"^(async )?def {test}\(", source, re.M)


def test_floors():
    """The table of dependencies is that of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = dict(
        re.match(r"([\w-]+)[^>]*>=(.+)", each).groups() for each in project["dependencies"]
    )
    for name, floor in re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", PAGE, re.M):
        assert floor.startswith(required[name]), name
