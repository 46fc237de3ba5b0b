"""A long task that reports its progress to its user."""

import logging
import time
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.contrib.auth import get_user_model

from bazis_ws_channels.exceptions import PublishError

__all__ = ["long_task"]

log = logging.getLogger(__name__)

STEPS = 20


@shared_task(bind=True)
def long_task(self: Task, user_id: int, fail: bool = False) -> None:
    """Do nothing for `DEMO_TASK_SECONDS`, in steps.

    Args:
        fail: break off half-way.
    """
    user = get_user_model().objects.get(pk=user_id)
    task_id = self.request.id
    tell(user, {"type": "task_started", "task_id": task_id})
    try:
        for step in range(1, STEPS + 1):
            work(fail and step > STEPS // 2)
            percent = step * 100 // STEPS
            progress = {"type": "task_progress", "task_id": task_id, "percent": percent}
            # An old percentage is of no use to who was away.
            tell(user, progress, record=False)
    except Exception as error:
        tell_end(user, {"type": "task_failed", "task_id": task_id, "error": str(error)})
        raise
    tell_end(user, {"type": "task_completed", "task_id": task_id})


def work(fail: bool) -> None:
    """One step of what a real task would do."""
    time.sleep(settings.DEMO_TASK_SECONDS / STEPS)
    if fail:
        raise RuntimeError("The task was asked to fail.")


def tell(user: Any, message: dict[str, Any], *, record: bool = True) -> None:
    """Publish how it goes. If that fails, the work goes on."""
    try:
        user.ws_publish(message, record=record)
    except PublishError as error:
        log.warning("task %s: %s not told: %s", message["task_id"], message["type"], error)


def tell_end(user: Any, message: dict[str, Any]) -> None:
    """Publish how it ended, once; while Redis is away, try again for a minute."""
    for _ in range(60):
        try:
            user.ws_publish(message, idempotency_key=f"{message['task_id']} ended")
        except PublishError as error:
            log.warning("task %s: its end is told later: %s", message["task_id"], error)
            time.sleep(1)
        else:
            return
