from django.urls import path

from tests.benchmarks.stock.consumers import PresencePerConnectionConsumer, StockConsumer

websocket_urlpatterns = [
    path("ws", StockConsumer.as_asgi()),
    path("ws-presence", PresencePerConnectionConsumer.as_asgi()),
]
