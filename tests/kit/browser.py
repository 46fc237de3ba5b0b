"""A real browser: the system's Chromium, driven by Playwright."""

import contextlib
import os
import shutil

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@contextlib.contextmanager
def chromium():
    """Yield a headless browser of Playwright's sync API, which occupies the thread's event loop.

    Without one the test is skipped; in CI, where everything must be there, it fails.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright")
    if _CHROMIUM is None:
        _missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


def _missing(what):
    reason = f"no browser tests: {what} is missing"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)
