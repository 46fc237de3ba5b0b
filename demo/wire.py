"""What goes over the wire, and the line of this project that makes it go: for the page's drawer.

The messages themselves say nothing of it.
"""

from pathlib import Path
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

__all__ = ["LINES", "WireView", "line_with"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = "demo/static/demo"

#: For each type of message: the file, and words that only the line has.
LINES = {
    # from the server: published by the demo
    "chat_message": ("demo/chat/delivery.py", "user.ws_publish(message.as_received())"),
    "chat_sent": ("demo/chat/delivery.py", "sender.ws_publish("),
    "broadcast": ("demo/chat/views.py", "broadcast({"),
    "task_started": ("demo/jobs/tasks.py", '"type": "task_started"'),
    "task_progress": ("demo/jobs/tasks.py", "tell(user, progress, record=False)"),
    "task_failed": ("demo/jobs/tasks.py", '"type": "task_failed"'),
    "task_completed": ("demo/jobs/tasks.py", '"type": "task_completed"'),
    # from the server: sent by the package, because of this line
    "subscribed": ("demo/chat/routing.py", "ChatConsumer.as_asgi()"),
    "presence": ("demo/users/models.py", "def ws_can_watch"),
    # from the page
    "watch": (f"{PAGE}/people.js", "client.watch("),
    "token": (f"{PAGE}/app.js", "new BazisWsClient("),
    "ping": (f"{PAGE}/app.js", "new BazisWsClient("),
}


class WireView(APIView):
    """The lines, by type of message."""

    def get(self, request: Request) -> Response:
        return Response({kind: line_with(*place) for kind, place in LINES.items()})


def line_with(file: str, words: str) -> dict[str, Any]:
    """Return the first line of a file that has `words` in it."""
    lines = enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), start=1)
    return next(
        {"file": file, "line": n, "code": line.strip()} for n, line in lines if words in line
    )
