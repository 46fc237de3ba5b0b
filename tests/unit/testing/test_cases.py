"""The parts for Django's own test runner, run by unittest within these tests."""

import unittest

import pytest
from channels.layers import get_channel_layer
from django.test import SimpleTestCase
from django.test.utils import setup_test_environment, teardown_test_environment

from bazis_ws_channels.layers import InMemoryChannelLayer
from bazis_ws_channels.publishing import broadcast, publish, publish_anonymous
from bazis_ws_channels.testing import WsDiscoverRunner, WsTestMixin

VISITOR = "visitor-0123456789"


def run(case, *names):
    """Run tests of a class; return the result."""
    result = unittest.TestResult()
    unittest.TestSuite(case(name) for name in names).run(result)
    assert result.testsRun == len(names)
    return result


class Case(WsTestMixin, SimpleTestCase):
    """A project's tests, whose `setUp` forgets to call that of its parents."""

    __test__ = False  # pytest is to leave it to these tests
    user, layers = None, []

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.layers.append(get_channel_layer())
        broadcast("of the class")

    def setUp(self):
        self.layers.append(get_channel_layer())
        broadcast("of setUp")

    def test_nothing_else(self):
        self.assert_broadcast("of setUp")
        self.assert_not_published(self.user)

    def test_all_kinds(self):
        publish([self.user], {"number": 1})
        publish_anonymous(VISITOR, {"step": 1})
        self.assert_published(self.user, {"number": 1})
        self.assert_published_anonymous(VISITOR, {"step": 1})
        self.assert_broadcast(count=None)
        assert len(self.ws_outbox) == 3

    def test_what_was_not(self):
        for wrong in (
            lambda: self.assert_published(self.user),
            lambda: self.assert_published_anonymous(VISITOR),
            lambda: self.assert_broadcast("another"),
            lambda: self.assert_not_published(),
        ):
            with pytest.raises(AssertionError):
                wrong()


@pytest.fixture
def case(make_user, monkeypatch):
    """The class, of which no test has run."""
    monkeypatch.setattr(Case, "user", make_user(1))
    monkeypatch.setattr(Case, "layers", [])
    return Case


@pytest.mark.parametrize("name", ["test_nothing_else", "test_all_kinds", "test_what_was_not"])
def test_what_a_test_published_is_captured(case, name):
    """Since its `setUp` began, whatever that calls; the assertions are methods."""
    result = run(case, name)
    assert result.errors + result.failures == []


def test_each_test_has_a_process_of_its_own(case):
    """As has what the class prepares; the project's layer is back afterwards."""
    before = get_channel_layer()
    result = run(case, "test_nothing_else", "test_all_kinds")
    assert result.wasSuccessful()
    assert len(set(map(id, case.layers))) == 3
    assert {type(layer) for layer in case.layers} == {InMemoryChannelLayer}
    assert get_channel_layer() is before


@pytest.fixture
def runner():
    """Django's runner; that of these tests makes room for it meanwhile."""
    teardown_test_environment()
    yield WsDiscoverRunner(verbosity=0)
    setup_test_environment()


def test_the_runner_isolates_the_whole_run(runner):
    """From before the first test to after the last."""
    before = get_channel_layer()
    runner.setup_test_environment()
    assert type(get_channel_layer()) is InMemoryChannelLayer
    assert get_channel_layer() is not before
    runner.teardown_test_environment()
    assert get_channel_layer() is before
