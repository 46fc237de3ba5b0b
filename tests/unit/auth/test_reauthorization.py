"""Looking again at sessions: what ends one, and when each is due."""

import asyncio
import contextvars
import dataclasses
import time

import pytest

from bazis_ws_channels.auth import reauthorization as module
from bazis_ws_channels.auth.credentials import stamp_of
from bazis_ws_channels.auth.django_sessions import DjangoSession
from bazis_ws_channels.auth.reauthorization import Reauthorizer, _judged, _Rows
from bazis_ws_channels.auth.unwritten import unwritten
from bazis_ws_channels.presence.stores import forget_store, get_store
from bazis_ws_channels.presence.stores.base import RevokeToken
from tests.kit import until
from tests.unit.connection.people import identity

LOGGED_OUT, EXPIRED = "logged_out", "expired_token"


def rows(*users, **sessions):
    """Return what the database says."""
    return _Rows({user.pk: user for user in users}, sessions)


def ending(who, found, *, is_revoked=False):
    """Return the code with which a session ends; None if it goes on."""
    verdict = _judged(who, is_revoked, found)
    assert verdict.identity is who
    return verdict.ending and verdict.ending[0]


# --- what ends a session --------------------------------------------------------------------


def test_a_session_that_may_go_on(make_user):
    """With the user as the database has it now."""
    who, now = identity(make_user(1)), make_user(1, first_name="new")
    verdict = _judged(who, False, rows(now))
    assert (verdict.ending, verdict.user, verdict.expires_at) == (None, now, None)


def test_a_revoked_token_ends_whatever_the_database_says(make_user):
    """And where it says nothing."""
    user = make_user(1)
    assert ending(identity(user), rows(user), is_revoked=True) == LOGGED_OUT
    assert ending(identity(user), None, is_revoked=True) == LOGGED_OUT


def test_an_outage_of_the_database_is_no_verdict(make_user):
    """The session goes on."""
    verdict = _judged(identity(make_user(1)), False, None)
    assert (verdict.ending, verdict.user) == (None, None)


def test_a_user_who_is_gone_or_inactive(make_user, settings):
    """Unless the project doesn't want it."""
    who = identity(make_user(1))
    for found in (rows(), rows(make_user(2)), rows(make_user(1, is_active=False))):
        settings.BAZIS_WS_END_ON_DEACTIVATION = True
        assert ending(who, found) == LOGGED_OUT
        settings.BAZIS_WS_END_ON_DEACTIVATION = False
        assert ending(who, found) is None


def test_a_new_password(make_user, settings):
    """It ends what is bound to the old one, unless the project doesn't want it."""
    old, new = make_user(1, password="old"), make_user(1, password="new")
    bound = dataclasses.replace(identity(old), stamp=stamp_of(old))
    assert ending(bound, rows(old)) is None
    assert ending(bound, rows(new)) == LOGGED_OUT
    assert ending(identity(old), rows(new)) is None  # a foreign token knows of no password
    settings.BAZIS_WS_END_ON_PASSWORD_CHANGE = False
    assert ending(bound, rows(new)) is None
    settings.BAZIS_WS_END_ON_DEACTIVATION = False
    settings.BAZIS_WS_END_ON_PASSWORD_CHANGE = True
    assert ending(bound, rows()) is None


def test_a_django_session(make_user):
    """It ends with Django's: when that ends, or expires; and learns of a new expiry."""
    user, later = make_user(1), time.time() + 600

    def cookie(expires_at, key="key"):
        session = DjangoSession(key, expires_at)
        return dataclasses.replace(identity(user, django_session=True), django_session=session)

    assert ending(cookie(later), rows(user, key=later)) is None
    assert _judged(cookie(later), False, rows(user, key=later + 9)).expires_at == later + 9
    assert ending(cookie(None), rows(user, key=None)) is None
    assert ending(cookie(later), rows(user)) == LOGGED_OUT
    assert ending(cookie(None), rows(user)) == LOGGED_OUT
    assert ending(cookie(time.time()), rows(user)) == EXPIRED
    assert ending(cookie(time.time() + 60), rows(user)) == LOGGED_OUT
    assert ending(cookie(later, key=""), rows(user)) is None  # the engine can't look
    assert ending(cookie(time.time() - 1, key=""), rows(user)) == EXPIRED
    assert ending(cookie(later), rows()) == LOGGED_OUT  # the user is gone


# --- when -----------------------------------------------------------------------------------


class Subject:
    """A session without a socket."""

    def __init__(self, who):
        self.identity = who
        self.context = contextvars.copy_context()
        self.verdicts, self.asked, self.fails = [], 0, None

    def judge(self, verdict):
        """Note it."""
        self.verdicts.append(verdict)

    async def ask_again(self):
        """Count it, or fail."""
        self.asked += 1
        if self.fails is not None:
            raise self.fails


class Database:
    """The rows, which are away when the test says so.

    Attributes:
        batches: how many sessions were asked about together.
    """

    def __init__(self):
        self.rows, self.error, self.batches = rows(), None, []

    def read(self, identities):
        """Answer, or fail."""
        self.batches.append(len(identities))
        if self.error is not None:
            raise self.error
        return self.rows


@pytest.fixture
def database(monkeypatch, make_user):
    """A database that holds the users 1 to 9."""
    database = Database()
    database.rows = rows(*map(make_user, range(1, 10)))
    monkeypatch.setattr(module, "_read", database.read)
    return database


@pytest.fixture
async def reauthorizer(clock, settings, database):
    """One whose clock is the test's, and that looks often whether anything is due."""
    settings.BAZIS_WS_REAUTHORIZE_SECONDS = 0.03
    forget_store()
    reauthorizer = Reauthorizer(clock)
    yield reauthorizer
    await reauthorizer.close()
    forget_store()


@pytest.fixture
def make(make_user):
    """Make a session: ``make(1)``."""

    def make(pk=1, **options):
        return Subject(identity(make_user(pk), **options))

    return make


def looked(subject, times):
    """Return a condition: a session was looked at so often."""
    return lambda: len(subject.verdicts) >= times and subject.asked >= times


async def test_each_is_looked_at_once_a_period(reauthorizer, clock, database, make):
    """Not before it is due; then together with the others, and the project is asked."""
    first, second = make(1), make(2)
    for subject in (first, second):
        reauthorizer.add(subject)
    clock.move(0.02)  # the latest of the random moments
    await until(looked(first, 1))
    await until(looked(second, 1))
    await until(lambda: not reauthorizer._wakeup.is_set())
    assert (len(first.verdicts), len(second.verdicts)) == (1, 1)
    assert database.batches == [2]
    clock.move(0.02)
    await until(looked(first, 2))
    assert len(reauthorizer) == 2


async def test_those_who_came_together_are_spread(reauthorizer, make, settings, clock):
    """Over two thirds of the period."""
    settings.BAZIS_WS_REAUTHORIZE_SECONDS = 60
    for _ in range(200):
        reauthorizer.add(make())
    moments = [at - clock.now for at in reauthorizer._due.values()]
    assert 0 <= min(moments) < 10
    assert 30 < max(moments) <= 40


async def test_all_at_once_after_a_loss(reauthorizer, make, settings):
    """Without waiting for their time."""
    settings.BAZIS_WS_REAUTHORIZE_SECONDS = 600
    subjects = [make(1), make(2)]
    for subject in subjects:
        reauthorizer.add(subject)
    reauthorizer.look_again()
    for subject in subjects:
        await until(looked(subject, 1))


async def test_one_at_once(reauthorizer, make, settings):
    """If it is one of these."""
    settings.BAZIS_WS_REAUTHORIZE_SECONDS = 600
    subject, other = make(1), make(2)
    reauthorizer.add(subject)
    reauthorizer.look_at(other)
    reauthorizer.look_at(subject)
    await until(looked(subject, 1))
    assert other.verdicts == []
    assert len(reauthorizer) == 1


async def test_who_has_left_is_not_looked_at(reauthorizer, make, clock):
    """And with the last one the task ends, to begin anew with the next."""
    subject = make(1)
    reauthorizer.add(subject)
    reauthorizer.discard(subject)
    reauthorizer.discard(subject)
    await until(lambda: reauthorizer._task.done())
    assert subject.verdicts == []
    reauthorizer.add(subject)
    clock.move(1)
    await until(looked(subject, 1))


async def test_a_session_that_the_verdict_has_ended_is_not_asked_again(reauthorizer, make, clock):
    """It has left meanwhile."""
    subject = make(8, jti="abc")
    get_store().ask(RevokeToken("abc", 60))
    judge = subject.judge

    def leave(verdict):
        judge(verdict)
        reauthorizer.discard(subject)

    subject.judge = leave
    reauthorizer.add(subject)
    clock.move(1)
    await until(lambda: reauthorizer._task.done())
    assert [verdict.ending[0] for verdict in subject.verdicts] == [LOGGED_OUT]
    assert subject.asked == 0


async def test_an_outage_is_logged_once_and_tried_again_soon(
    reauthorizer, make, clock, database, caplog
):
    """A tenth of a period later; its end is logged too. Revocations count meanwhile."""
    database.error = OSError("away")
    well, revoked = make(1), make(2, jti="abc")
    get_store().ask(RevokeToken("abc", 60))
    reauthorizer.add(well)
    reauthorizer.add(revoked)
    clock.move(0.02)
    for times in (1, 2, 3):
        await until(lambda times=times: len(well.verdicts) >= times)
        clock.move(0.003)
    assert {verdict.ending for verdict in well.verdicts} == {None}
    assert revoked.verdicts[-1].ending[0] == LOGGED_OUT
    assert well.asked == 0
    assert caplog.text.count("can't be looked at again now") == 1
    database.error = None
    await until(lambda: well.asked)
    assert caplog.text.count("Sessions are looked at again.") == 1


async def test_a_store_that_is_away_is_no_verdict(reauthorizer, make, clock, monkeypatch):
    """What the database says counts all the same."""

    class Away:
        async def aask(self, question):
            raise module.PresenceUnavailable("away")

    monkeypatch.setattr(module, "get_store", Away)
    well, gone = make(1), make(99)
    reauthorizer.add(well)
    reauthorizer.add(gone)
    clock.move(1)
    await until(lambda: well.verdicts and gone.verdicts)
    assert well.verdicts[0].ending is None
    assert gone.verdicts[0].ending[0] == LOGGED_OUT


async def test_a_project_that_fails_holds_up_nobody(reauthorizer, make, clock, caplog):
    """It is logged; the next one has its turn."""
    first, second = make(1), make(2)
    first.fails = RuntimeError("a bug in project code")
    reauthorizer.add(first)
    reauthorizer.add(second)
    clock.move(1)
    await until(looked(second, 1))
    await until(lambda: "A session could not be looked at again." in caplog.text)


async def test_a_verdict_that_fails_ends_nothing(reauthorizer, make, clock, caplog):
    """They are looked at the next time."""
    subject = make(1)
    subject.judge = lambda verdict: 1 / 0
    reauthorizer.add(subject)
    clock.move(1)
    await until(lambda: "the next time they are" in caplog.text)
    del subject.judge
    clock.move(1)
    await until(looked(subject, 1))


async def test_many_are_looked_at_in_parts(reauthorizer, make, clock, monkeypatch, database):
    """So that neither Redis nor the database's thread is held up."""
    monkeypatch.setattr(module, "_QUESTION", 5)
    monkeypatch.setattr(module, "_QUERY", 2)
    subjects = [make(1) for _ in range(7)]
    for subject in subjects:
        reauthorizer.add(subject)
    clock.move(0.02)
    for subject in subjects:
        await until(looked(subject, 1))
    assert database.batches == [2, 2, 1, 2]


async def test_unwritten_endings_are_tried(reauthorizer, make, clock):
    """In a server nobody else may be there to do it."""
    unwritten._clock = clock
    try:
        unwritten.keep(RevokeToken("abc", 60), None)
        subject = make(8, jti="abc")
        reauthorizer.add(subject)
        clock.move(2)
        await until(lambda: not unwritten)
        reauthorizer.look_again()
        await until(lambda: subject.verdicts[-1].ending is not None)
    finally:
        unwritten.__init__()


async def test_it_ends_with_the_loop(reauthorizer, make):
    """Nothing goes on; nor does closing one that never began fail."""
    await Reauthorizer().close()
    reauthorizer.add(make(1))
    await asyncio.sleep(0)
    await reauthorizer.close()
    assert reauthorizer._task.done()
