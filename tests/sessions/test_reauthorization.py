"""Looking again, in-process: what it asks, when, and what it makes of outages."""

import asyncio
import contextvars
import itertools
import os
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.db.utils import OperationalError
from django.test.utils import CaptureQueriesContext

from bazis_ws_channels import auth
from bazis_ws_channels.auth.reauthorization import Reauthorizer, _examine
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import RevokeBefore
from tests.kit import until

TENANT = contextvars.ContextVar("TENANT", default="")


class Subject:
    """A session without a socket."""

    def __init__(self, identity):
        self.identity = identity
        self.context = contextvars.copy_context()
        self.verdicts = []
        self.asked = 0

    def judge(self, verdict):
        """Note it."""
        self.verdicts.append(verdict)

    async def ask_again(self):
        """Count it."""
        self.asked += 1

    @property
    def ending(self):
        """The last verdict's code."""
        ending = self.verdicts[-1].ending
        return ending and ending[0]


@pytest.fixture
def make_subjects(transactional_db):
    """Make sessions of as many new users: ``make_subjects(3)``."""
    User = get_user_model()
    numbers = itertools.count()

    def identities(count):
        users = [User(username=f"subject{next(numbers)}", password="!") for _ in range(count)]
        User.objects.bulk_create(users, batch_size=500)
        return [auth.authenticate(user.ws_token()) for user in users]

    async def make(count):
        # On the loop, as sessions are opened: the context belongs to it.
        return [Subject(each) for each in await sync_to_async(identities)(count)]

    return make


@pytest.fixture
async def reauthorizer(settings, clock):
    """One whose clock stands still, and that looks often whether anything is due."""
    settings.BAZIS_WS_REAUTHORIZE_SECONDS = 0.3
    reauthorizer = Reauthorizer(clock)
    reauthorizer.test_clock = clock
    yield reauthorizer
    await reauthorizer.close()


async def test_each_is_looked_at_once_a_period(reauthorizer, make_subjects):
    """And then again, and those that have gone not at all."""
    subjects = await make_subjects(3)
    for subject in subjects:
        reauthorizer.add(subject)
    reauthorizer.discard(subjects[2])
    for period in (1, 2):
        reauthorizer.test_clock.now += 0.3
        await until(lambda: all(subject.asked == period for subject in subjects[:2]))  # noqa: B023
    assert [len(subject.verdicts) for subject in subjects] == [2, 2, 0]
    assert {subject.ending for subject in subjects[:2]} == {None}


async def test_all_are_looked_at_after_a_loss(reauthorizer, make_subjects):
    """At once, though none is due."""
    subjects = await make_subjects(3)
    for subject in subjects:
        reauthorizer.add(subject)
    reauthorizer.look_again()
    await until(lambda: all(subject.asked for subject in subjects))
    reauthorizer.look_at(subjects[1])
    await until(lambda: subjects[1].asked == 2)
    assert [subject.asked for subject in subjects] == [1, 2, 1]


async def test_what_2500_sessions_cost(make_subjects, redis):
    """One command, three queries; exactly those that ended are found."""
    subjects = await make_subjects(2500)
    identities = [subject.identity for subject in subjects]
    pks = [each.user.pk for each in identities]
    users = get_user_model().objects
    await users.filter(pk__in=pks[:10]).aupdate(is_active=False)
    await users.filter(pk__in=pks[10:20]).aupdate(password=make_password("x"))
    await sync_to_async(users.filter(pk__in=pks[20:30])._raw_delete)("default")
    for pk in pks[30:40]:
        await get_store().aask(RevokeBefore(str(pk), None, 60))
    await _examine(identities[:1], "")  # the script is loaded
    redis.config_resetstat()
    queries = await sync_to_async(CaptureQueriesContext(connection).__enter__)()
    verdicts, errors = await _examine(identities, "")
    await sync_to_async(queries.__exit__)(None, None, None)
    assert errors == []
    assert [verdict.ending is not None for verdict in verdicts] == [True] * 40 + [False] * 2460
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert await sync_to_async(lambda: len(queries.captured_queries))() == 3


async def test_redis_away(make_subjects, settings):
    """The database's word counts all the same."""
    inactive, active = await make_subjects(2)
    await get_user_model().objects.filter(pk=inactive.identity.user.pk).aupdate(is_active=False)
    settings.BAZIS_WS_REDIS_URL = "redis://127.0.0.1:1"
    verdicts, [error] = await _examine([inactive.identity, active.identity], "")
    assert [verdict.ending is not None for verdict in verdicts] == [True, False]
    assert "Redis" in str(error)


async def test_database_away(make_subjects):
    """Nobody is ended by it; revocations count all the same."""
    revoked, other = await make_subjects(2)
    await get_store().aask(RevokeBefore(revoked.identity.key, None, 60))

    def fail(execute, sql, params, many, context):
        raise OperationalError("the database is out of reach")

    wrappers = await sync_to_async(lambda: connection.execute_wrappers)()
    wrappers.append(fail)
    try:
        verdicts, [error] = await _examine([revoked.identity, other.identity], "")
    finally:
        wrappers.remove(fail)
    assert [verdict.ending is not None for verdict in verdicts] == [True, False]
    assert isinstance(error, OperationalError)


async def test_an_outage_is_logged_once_and_made_up_for(
    reauthorizer, make_subjects, settings, caplog
):
    """Sessions go on, and are looked at soon after it."""
    [subject] = await make_subjects(1)
    settings.BAZIS_WS_REDIS_URL = "redis://127.0.0.1:1"
    reauthorizer.add(subject)
    for looks in range(1, 4):
        reauthorizer.test_clock.now += 0.03
        reauthorizer.look_again()
        await until(lambda: len(subject.verdicts) == looks)  # noqa: B023
    assert caplog.text.count("can't be looked at again now") == 1
    settings.BAZIS_WS_REDIS_URL = os.environ["REDIS_URL"]
    await get_store().aask(RevokeBefore(subject.identity.key, None, 60))
    reauthorizer.test_clock.now += 0.03
    await until(lambda: subject.ending == "logged_out")
    assert caplog.text.count("Sessions are looked at again.") == 1


def tenant():
    """Return the tenant that the context names."""
    return TENANT.get()


async def test_tenants(reauthorizer, make_subjects, settings):
    """A session is compared with its own tenant's users: by the context in which it was opened.
    Where that doesn't tell, users aren't compared.
    """
    settings.BAZIS_WS_NAMESPACE = tenant
    token = TENANT.set("a")
    [subject] = await make_subjects(1)
    reauthorizer.add(subject)
    TENANT.reset(token)
    [lost] = await make_subjects(1)
    lost.identity = subject.identity  # of tenant a, seen from no tenant's context
    reauthorizer.add(lost)
    await get_user_model().objects.filter(pk=subject.identity.user.pk).aupdate(is_active=False)
    reauthorizer.look_at(subject)
    await until(lambda: subject.verdicts)
    reauthorizer.look_at(lost)
    await until(lambda: lost.verdicts)
    assert (subject.ending, lost.ending) == ("logged_out", None)


async def test_the_task_ends_with_the_last_session(reauthorizer, make_subjects):
    """And begins again with the next."""
    [subject] = await make_subjects(1)
    reauthorizer.add(subject)
    task = reauthorizer._task
    reauthorizer.discard(subject)
    await asyncio.wait_for(task, 5)
    reauthorizer.add(subject)
    reauthorizer.look_again()
    await until(lambda: subject.verdicts)


async def test_a_project_that_fails_or_hangs(reauthorizer, make_subjects, caplog):
    """Fails its own session's question alone."""
    bad, good = await make_subjects(2)

    async def fail():
        raise RuntimeError("a bug in project code")

    bad.ask_again = fail
    for subject in (bad, good):
        reauthorizer.add(subject)
    started_at = time.monotonic()
    reauthorizer.look_again()
    await until(lambda: good.asked)
    assert time.monotonic() - started_at < 5
    assert "could not be looked at again" in caplog.text
