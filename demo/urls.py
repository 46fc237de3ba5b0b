"""Everything that the demo answers over HTTP."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from bazis_ws_channels.health import health
from demo.chat.views import BroadcastView, HistoryView, SendView
from demo.jobs.views import TaskView
from demo.users.views import MeView, RenewView, TokenView, UserViewSet
from demo.views import page
from demo.wire import WireView

router = SimpleRouter()
router.register("users/user", UserViewSet, basename="user")

api = [
    path("token/", TokenView.as_view(), name="token"),
    path("token/renew/", RenewView.as_view(), name="token-renew"),
    path("me/", MeView.as_view(), name="me"),
    path("chat/history/", HistoryView.as_view(), name="chat-history"),
    path("chat/send/", SendView.as_view(), name="chat-send"),
    path("tasks/", TaskView.as_view(), name="tasks"),
    path("wire/", WireView.as_view(), name="wire"),
    path("broadcast/", BroadcastView.as_view(), name="broadcast"),
    *router.urls,
]
urlpatterns = [
    path("", page, name="page"),
    path("api/v1/", include(api)),
    path("health/", health, name="health"),  # the page asks it whether presence is known
]

handler400 = "demo.views.bad_request"
handler404 = "demo.views.not_found"
handler500 = "demo.views.server_error"
