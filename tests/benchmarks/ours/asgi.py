"""The ASGI application of the measured project, as the package's README has one write it."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

get_asgi_application()

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402
from bazis_ws_channels.routing import websocket_urlpatterns  # noqa: E402
from tests.benchmarks.project import count_queries, stats_application  # noqa: E402

count_queries()
application = ProtocolTypeRouter(
    {
        "http": stats_application,
        "websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns)),
    }
)
