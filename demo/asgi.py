"""The ASGI application: pages, API and static files over HTTP, the package over WebSocket."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
django_application = get_asgi_application()  # loads the apps: what is below may import models

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402
from demo.chat.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        # A few small files for a few people: no collectstatic, no second server.
        "http": ASGIStaticFilesHandler(django_application),
        "websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns)),
    }
)
