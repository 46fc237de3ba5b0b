"""The route of the WebSocket: the package's path, with the demo's consumer."""

from django.urls import re_path

from .consumers import ChatConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [re_path(r"^ws/?$", ChatConsumer.as_asgi(), name="ws")]
