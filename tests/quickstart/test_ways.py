"""Each way of the page leads from an empty folder to a message in a browser."""

import sys

import pytest

from tests.quickstart.document import WAYS, Command, steps, steps_of
from tests.quickstart.newcomer import Newcomer

pytestmark = pytest.mark.quickstart

#: No claim about speed: the end of a test that would wait for ever.
PATIENCE_MS = 20_000
RUN = Command("python manage.py runserver")
#: What the page promises.
MOST_SECONDS = 300


def fill_in(page):
    """Sign in by the form that the page shows."""
    page.fill("input[name=username]", "alice")
    page.fill("input[name=password]", "wonderland")
    page.press("input[name=password]", "Enter")


def sign_in(page, url):
    """Sign in by whatever form the page's address shows."""
    from playwright.sync_api import expect

    page.goto(url)
    fill_in(page)
    expect(page.locator("#state")).to_have_text("live ", timeout=PATIENCE_MS)


@pytest.mark.parametrize("way", WAYS)
def test_way(way, tmp_path, constraint, browser, stop_watch):
    """As written: the message is seen, nothing complains, and the watch says how long it took."""
    from playwright.sync_api import expect

    todo, listen = steps_of(way)
    problems = []
    with Newcomer(tmp_path / "mysite", sys._base_executable, constraint) as newcomer:
        for step in todo[:-1]:
            newcomer.follow(step)
        server = newcomer.terminals["runserver"]
        context = browser.new_context()
        page = context.new_page()
        page.on("console", lambda message: problems.append((message.text, message.location)))
        page.on("pageerror", lambda error: problems.append(str(error)))
        try:
            with newcomer.watch("(sign in, in the browser)"):
                sign_in(page, newcomer.url)
            assert "to 1 connection(s) of alice." in newcomer.follow(todo[-1])
            with newcomer.watch("(the message is there)"):
                message = page.locator("#messages li")
                expect(message).to_have_text('{"hello":"world"}', timeout=PATIENCE_MS)
            assert stop_watch(way, newcomer) < MOST_SECONDS

            newcomer.follow(listen)
            newcomer.follow(todo[-1])
            newcomer.terminals["ws_listen"].says(r'\{"hello": "world"\}')
            assert "no issues" in newcomer.follow(Command("python manage.py check"))
            migrations = newcomer.follow(Command("python manage.py makemigrations --check"))
            assert "No changes detected" in migrations
        finally:
            context.close()
        assert "WARNING" not in server.text
        assert "Traceback" not in server.text
        assert [each for each in problems if "/favicon.ico" not in str(each)] == []


@pytest.mark.parametrize("way", WAYS)
def test_without_redis(way, tmp_path, constraint, browser):
    """The same project with the layer in memory: a view publishes, and a command says why not."""
    from playwright.sync_api import expect

    todo, _ = steps_of(way)
    publish = todo.pop()
    todo = [step for step in todo if step not in (Command("redis-server"), RUN)]
    with Newcomer(tmp_path / "mysite", sys._base_executable, constraint) as newcomer:
        for step in [*todo, *steps("Without Redis"), RUN]:
            newcomer.follow(step)
        context = browser.new_context()
        page, tab = context.new_page(), context.new_page()
        try:
            sign_in(page, newcomer.url)
            tab.goto(f"{newcomer.url}hello/")
            if "/login/" in tab.url:  # with tokens in the page's memory no session is there
                fill_in(tab)
            expect(tab.locator("body")).to_contain_text('{"connections": 1}', timeout=PATIENCE_MS)
            expect(page.locator("#messages li")).to_have_text('{"hello":"world"}')
            assert "The channel layer is in memory" in newcomer.follow(publish)
        finally:
            context.close()
