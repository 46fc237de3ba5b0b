"""The ASGI application under test, as the README has one write it."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_asgi_app = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402
from bazis_ws_channels.routing import websocket_urlpatterns  # noqa: E402
from tests.project.routing import project_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_asgi_app,
        "websocket": AuthMiddlewareStack(
            JWTAuthMiddlewareStack(URLRouter([*websocket_urlpatterns, *project_urlpatterns]))
        ),
    }
)
