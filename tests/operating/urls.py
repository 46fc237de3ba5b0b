"""The test project with its metrics and its health served."""

import json

from django.http import HttpResponse
from django.urls import include, path

from bazis_ws_channels.health import health
from bazis_ws_channels.metrics import metrics
from bazis_ws_channels.publishing import broadcast


def announce(request):
    """Publish the body to everybody."""
    broadcast(json.loads(request.body))
    return HttpResponse(status=204)


urlpatterns = [
    path("broadcast/", announce),
    path("metrics", metrics),
    path("health", health),
    path("", include("tests.project.urls")),
]
