"""The test project's application, and a consumer whose handlers last until they are told."""

import asyncio

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from tests.project.asgi import application as project

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack  # isort: skip
from bazis_ws_channels.routing import websocket_urlpatterns  # isort: skip
from tests.project.routing import ProjectConsumer  # isort: skip


class DeliveryConsumer(ProjectConsumer):
    """Handlers that wait, close and mix the ways to send."""

    async def client_wait(self, content):
        """Last until the event `order.released`."""
        self.released = asyncio.Event()
        await self.send_json({"type": "waiting"})
        await self.released.wait()
        await self.send_json({"type": "released"})

    async def order_released(self, event):
        """End `client_wait`."""
        self.released.set()

    async def client_bye(self, content):
        """Close, and go on sending."""
        await self.close(4000)
        await self.send_json({"type": "late"})
        self.push('{"type": "late"}')
        await self.close(4001)

    async def client_mixed(self, content):
        """Send in all the ways there are."""
        for n in range(0, content["count"], 2):
            self.push(f'{{"type": "mixed", "n": {n}}}')
            await self.send_json({"type": "mixed", "n": n + 1})


patterns = [
    *websocket_urlpatterns,
    path("delivery/", DeliveryConsumer.as_asgi()),
]
application = ProtocolTypeRouter(
    {
        "http": project.application_mapping["http"],
        "websocket": JWTAuthMiddlewareStack(URLRouter(patterns)),
    }
)
