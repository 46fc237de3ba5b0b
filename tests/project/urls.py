"""HTTP routes of the test project."""

from django.contrib import admin
from django.urls import path
from rest_framework.routers import DefaultRouter

from bazis_ws_channels.viewsets import UserWsViewSet
from tests.project import views

router = DefaultRouter()
router.register("users", UserWsViewSet, basename="user")

urlpatterns = [
    *router.urls,
    path("admin/", admin.site.urls),
    path("login/", views.log_in),
    path("logout/", views.log_out),
    path("publish/<int:pk>/", views.publish),
    path("drf-publish/<int:pk>/", views.DrfPublish.as_view()),
    path("online/", views.online_page),
]
