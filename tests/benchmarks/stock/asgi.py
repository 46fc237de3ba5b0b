"""The ASGI application of the stock project."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

get_asgi_application()

from tests.benchmarks.project import count_queries, stats_application  # noqa: E402
from tests.benchmarks.stock.middleware import JWTAuthMiddleware  # noqa: E402
from tests.benchmarks.stock.routing import websocket_urlpatterns  # noqa: E402

count_queries()
application = ProtocolTypeRouter(
    {
        "http": stats_application,
        "websocket": JWTAuthMiddleware(URLRouter(websocket_urlpatterns)),
    }
)
