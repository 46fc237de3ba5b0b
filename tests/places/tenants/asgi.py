"""The project's ASGI application."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402
from bazis_ws_channels.routing import websocket_urlpatterns  # noqa: E402
from tests.places.tenants.spaces import TenantMiddleware  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": TenantMiddleware(JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
