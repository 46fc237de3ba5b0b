"""The route of the WebSocket: ``/ws``, with or without a slash at the end."""

from django.urls import re_path

from .consumers import UserWsConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [re_path(r"^ws/?$", UserWsConsumer.as_asgi(), name="ws")]
