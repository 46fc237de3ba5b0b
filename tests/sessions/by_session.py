"""An ASGI application in which Django sessions sign in, without channels' `AuthMiddlewareStack`."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_asgi_app = get_asgi_application()

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402
from bazis_ws_channels.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_asgi_app,
        "websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns), sessions=True),
    }
)
