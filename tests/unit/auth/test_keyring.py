"""Keys that a project's callable returned: asked for once, remembered for a while."""

import asyncio
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from bazis_ws_channels.auth import keyring as module
from bazis_ws_channels.auth.keyring import Keyring, aask_callable, ask_callable
from bazis_ws_channels.exceptions import ServerBusy, TokenError


class Source:
    """A project's callable: knows the kids that it was given, and counts the questions."""

    def __init__(self, **keys):
        self.keys = keys
        self.asked = []

    def __call__(self, kid):
        self.asked.append(kid)
        key = self.keys.get(kid)
        if isinstance(key, Exception):
            raise key
        return key


@pytest.fixture
def keyring(clock, monkeypatch):
    """A keyring by the moved clock, which everybody uses."""
    keyring = Keyring(clock)
    monkeypatch.setattr(module, "_keyring", keyring)
    return keyring


def test_a_key_is_asked_for_once(keyring, clock, settings):
    """As long as the setting says."""
    settings.BAZIS_WS_JWT_KEY_SECONDS = 60
    source = Source(a="secret")
    assert [ask_callable(source, "a") for _ in range(3)] == ["secret"] * 3
    clock.move(59.9)
    assert ask_callable(source, "a") == "secret"
    assert source.asked == ["a"]
    source.keys["a"] = "rotated"
    clock.move(0.1)
    assert ask_callable(source, "a") == "rotated"


def test_kids_and_callables_are_not_mixed_up(keyring):
    """No `kid` is one, too."""
    first, second = Source(a=1, b=2), Source(a=3)
    first.keys[None] = 4
    questions = [(first, "a"), (first, "b"), (second, "a"), (first, None)]
    for _ in range(2):
        assert [ask_callable(*each) for each in questions] == [1, 2, 3, 4]
    assert (first.asked, second.asked) == (["a", "b", None], ["a"])


def test_an_unknown_kid_is_remembered_for_ten_seconds(keyring, clock):
    """The token is invalid; a key that was added meanwhile is found soon."""
    source = Source()
    for _ in range(2):
        with pytest.raises(TokenError):
            ask_callable(source, "a")
    assert source.asked == ["a"]
    source.keys["a"] = "secret"
    clock.move(10)
    assert ask_callable(source, "a") == "secret"


def test_a_failure_is_remembered_for_a_second(keyring, clock):
    """The callable is not asked by each of a crowd; the reason is kept."""
    source = Source(a=OSError("out of reach"))
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="BAZIS_WS_JWT_KEY failed") as caught:
            ask_callable(source, "a")
        assert caught.value.__cause__ is source.keys["a"]
    assert source.asked == ["a"]
    source.keys["a"] = "secret"
    clock.move(1)
    assert ask_callable(source, "a") == "secret"


def test_unknown_kids_are_asked_about_at_a_measured_pace(keyring, clock):
    """Anybody can invent them. Who has a known one is not held up."""
    source = Source(a="secret")
    assert ask_callable(source, "a") == "secret"
    for number in range(19):  # with the one before, the burst
        with pytest.raises(TokenError):
            ask_callable(source, f"invented {number}")
    with pytest.raises(ServerBusy):
        ask_callable(source, "invented")
    assert len(source.asked) == 20
    assert ask_callable(source, "a") == "secret"
    clock.move(0.5)
    with pytest.raises(TokenError):
        ask_callable(source, "invented")
    with pytest.raises(ServerBusy):
        ask_callable(source, "another")


def test_a_known_key_that_is_old_is_asked_for_whatever_others_invent(keyring, clock, settings):
    """A flood of invented kids ends no known one."""
    settings.BAZIS_WS_JWT_KEY_SECONDS = 5
    source = Source(a="secret")
    ask_callable(source, "a")
    clock.move(5)
    for number in range(20):
        with pytest.raises(TokenError):
            ask_callable(source, f"invented {number}")
    with pytest.raises(ServerBusy):
        ask_callable(source, "invented")
    assert ask_callable(source, "a") == "secret"


def test_only_so_many_answers_are_kept(keyring, monkeypatch):
    """Beyond it the oldest go."""
    monkeypatch.setattr(module, "_MOST", 2)
    source = Source(a=1, b=2, c=3)
    for kid in "abc":
        ask_callable(source, kid)
    assert [kid for _, kid in keyring._answers] == ["b", "c"]
    ask_callable(source, "b")
    ask_callable(source, "a")
    assert source.asked == list("abca")


def test_a_callable_that_remembers_by_itself(keyring):
    """`keys.from_url` is asked each time, and knows how often to ask the provider."""
    source = Source(a="secret")
    source.remembers = True
    for _ in range(25):
        assert ask_callable(source, "a") == "secret"
    assert len(source.asked) == 25
    for number in range(25):
        with pytest.raises(TokenError):
            ask_callable(source, f"invented {number}")
    assert not keyring._answers


# --- on an event loop -----------------------------------------------------------------------


async def test_a_crowd_shares_one_question(keyring):
    """Asked in a thread, while the event loop goes on."""
    may_answer, threads = threading.Event(), []
    source = Source(a="secret")

    def slow(kid):
        threads.append(threading.current_thread())
        assert may_answer.wait(20)
        return source(kid)

    crowd = [asyncio.create_task(aask_callable(slow, "a")) for _ in range(10)]
    await asyncio.sleep(0)
    crowd[0].cancel()  # one that loses patience takes nobody else with it
    may_answer.set()
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == ["secret"] * 9
    assert source.asked == ["a"]
    assert threads != [threading.current_thread()]
    assert await aask_callable(slow, "a") == "secret"
    assert source.asked == ["a"]


async def test_a_crowd_shares_an_error(keyring):
    """Each gets it, and the next question is a new one."""
    source = Source(a=OSError("out of reach"))
    crowd = (aask_callable(source, "a") for _ in range(3))
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert [type(each) for each in answers] == [ImproperlyConfigured] * 3
    assert source.asked == ["a"]
    with pytest.raises(TokenError):
        await aask_callable(source, "b")
