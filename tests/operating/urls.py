"""The test project with its metrics and its health served."""

from django.urls import include, path

from bazis_ws_channels.health import health
from bazis_ws_channels.metrics import metrics

urlpatterns = [
    path("metrics", metrics),
    path("health", health),
    path("", include("tests.project.urls")),
]
