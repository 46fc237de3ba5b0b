"""The application of these tests: its consumer says when its application has ended."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django_asgi_app = get_asgi_application()

from bazis_ws_channels.consumers import UserWsConsumer  # noqa: E402
from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # noqa: E402


class TalkativeConsumer(UserWsConsumer):
    """Prints what is behind it."""

    async def disconnect(self, code):
        """Say that the application has ended."""
        print(f"application ended: {code}", flush=True)

    async def client_bye(self, content):
        """Close from the project's code."""
        await self.close(4000)


async def lifespan(scope, receive, send):
    """Servers ask for it."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


application = ProtocolTypeRouter(
    {
        "http": django_asgi_app,
        "lifespan": lifespan,
        "websocket": JWTAuthMiddlewareStack(URLRouter([path("ws", TalkativeConsumer.as_asgi())])),
    }
)
