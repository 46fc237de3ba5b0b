"""The long task tells its user how it goes."""

from django.contrib.auth import get_user_model
from django.test import TestCase, override_settings

from bazis_ws_channels.testing import WsTestMixin

from .tasks import STEPS, long_task


@override_settings(DEMO_TASK_SECONDS=0)
class LongTaskTests(WsTestMixin, TestCase):
    def setUp(self):
        self.alice = get_user_model().objects.create_user("alice")

    def test_progress_is_told(self):
        long_task.apply(args=[self.alice.pk])
        self.assert_published(self.alice, {"type": "task_started"})
        self.assert_published(self.alice, {"type": "task_progress"}, count=STEPS)
        self.assert_published(self.alice, {"type": "task_progress", "percent": 100})
        self.assertEqual(self.ws_outbox[-1].data["type"], "task_completed")

    def test_who_was_away_is_told_of_the_end_and_not_of_each_step(self):
        long_task.apply(args=[self.alice.pk])
        recorded = [message.data["type"] for message in self.ws_outbox if message.recorded]
        self.assertEqual(recorded, ["task_started", "task_completed"])

    def test_failure_is_told(self):
        long_task.apply(args=[self.alice.pk], kwargs={"fail": True})
        self.assert_published(self.alice, {"type": "task_failed"})
        self.assert_published(self.alice, {"type": "task_completed"}, count=0)
