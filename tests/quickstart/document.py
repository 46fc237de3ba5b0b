"""The steps of docs/quickstart.md, as a reader sees them: files to write, commands to type."""

import re
from dataclasses import dataclass

from tests.kit import ROOT

PAGE = ROOT / "docs/quickstart.md"

#: The ways of the page: each has a section between the two that all share.
COOKIES, TOKENS, SIMPLE_JWT = WAYS = "2a. Cookies", "2b. Tokens", "2c. Simple JWT"
_PROJECT, _SEE = "1. A project", "3. See it"

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
_FILE = re.compile(r"`([\w./]+)`, (added at the end|instead of what is there|a new file)")


@dataclass(frozen=True)
class Command:
    """A line to type into a terminal."""

    line: str


@dataclass(frozen=True)
class File:
    """A file to write, or to add to."""

    name: str
    text: str
    is_added: bool


def section(heading):
    """Return the text under a heading of the page."""
    match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return match[1]


def steps(heading):
    """Return the steps under a heading, in their order."""
    text, found = section(heading), []
    for fence in _FENCED.finditer(text):
        language, code = fence.groups()
        if language == "sh":
            found += [Command(line) for line in code.splitlines()]
            continue
        said = text[: fence.start()].strip().rpartition("\n\n")[2]
        if match := _FILE.match(said):
            found.append(File(match[1], code, match[2] == "added at the end"))
    return found


def steps_of(way):
    """Return the steps of a way up to the message in the browser, and the one without a browser."""
    middle = steps(way)
    if way == SIMPLE_JWT:  # "`mysite/asgi.py` is that of way b"
        asgi = [each for each in steps(TOKENS) if getattr(each, "name", "") == "mysite/asgi.py"]
        middle = asgi + middle
    *seen, listen = steps(_SEE)
    assert "ws_listen" in listen.line
    return [*steps(_PROJECT), *middle, *seen], listen
