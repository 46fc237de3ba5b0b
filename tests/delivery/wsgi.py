"""The test project under WSGI: gunicorn's master, preloading it, publishes before it forks."""

import os
import threading

from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import include, path

application = get_wsgi_application()

from bazis_ws_channels import publishing  # noqa: E402
from tests.project.models import User  # noqa: E402

# Leave the master with a loop, a thread and connections.
publishing.publish([0], 1)


def publish_many(request, pk, start, stop):
    """Publish a row of numbers; say where, and which threads there are."""
    user = User.objects.get(pk=pk)
    for n in range(start, stop):
        user.ws_publish(n)
    threads = sorted(each.name for each in threading.enumerate())
    return JsonResponse({"pid": os.getpid(), "threads": threads})


urlpatterns = [
    path("publish-many/<int:pk>/<int:start>/<int:stop>/", publish_many),
    path("", include("tests.project.urls")),
]
