"""What can be said of the page without doing it; `test_ways.py` does it (``make quickstart``)."""

import re

import pytest

from tests.kit import ROOT
from tests.quickstart.document import COOKIES, SIMPLE_JWT, WAYS, Command, File, steps_of

#: Commands and files, from a fresh environment to a message in the browser.
MOST_STEPS = 12

_README_FILE = re.compile(r"^`([\w./]+)`:\n\n```python\n(.*?)^```", re.M | re.S)


def files_of(way):
    """Return the files of a way: {name: text}."""
    texts = {}
    for step in steps_of(way)[0]:
        if isinstance(step, File):
            texts[step.name] = texts.get(step.name, "") * step.is_added + step.text
    return texts


@pytest.mark.parametrize("way", WAYS)
def test_few_steps(way):
    """Not more than the page promises; the environment itself is not counted."""
    environment, *commands = [step for step in steps_of(way)[0] if isinstance(step, Command)]
    assert "venv" in environment.line
    assert len(commands) + len(files_of(way)) <= MOST_STEPS


@pytest.mark.parametrize("way", WAYS)
def test_files(way):
    """Each way writes the same four; what is Python can be compiled."""
    files = files_of(way)
    assert set(files) == {
        *("mysite/settings.py", "mysite/asgi.py", "mysite/urls.py", "templates/home.html")
    }
    for name, text in files.items():
        if name.endswith(".py"):
            compile(text, name, "exec")


def test_the_readme_shows_the_same():
    """Its settings are a part of the page's, its asgi.py is that of the cookies."""
    shown, files = dict(_README_FILE.findall((ROOT / "README.md").read_text())), files_of(COOKIES)
    assert shown.pop("mysite/settings.py") in files["mysite/settings.py"]
    assert shown.pop("mysite/asgi.py") == files["mysite/asgi.py"]
    assert shown == {}


def test_simple_jwt_is_that_of_the_tokens_page():
    """The settings that make its tokens open sockets are those of docs/tokens.md."""
    settings = re.findall(
        r"^BAZIS_WS_JWT\w+ = \S+", files_of(SIMPLE_JWT)["mysite/settings.py"], re.M
    )
    page = (ROOT / "docs/tokens.md").read_text()
    assert len(settings) == 2
    assert all(setting in page for setting in settings)
