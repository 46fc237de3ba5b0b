"""The ASGI application of the measured project, as the package's README has one write it."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

get_asgi_application()

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402
from bazis_ws_channels.routing import websocket_urlpatterns  # noqa: E402
from tests.benchmarks.project import count_queries, stats_application  # noqa: E402

if os.environ.get("BENCH_NAIVE_SECONDS"):
    from django.urls import re_path

    from tests.benchmarks.ours.naive import NaiveConsumer

    websocket_urlpatterns = [re_path(r"^ws/?$", NaiveConsumer.as_asgi())]
count_queries()
application = ProtocolTypeRouter(
    {
        "http": stats_application,
        "websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns)),
    }
)
