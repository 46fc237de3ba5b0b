"""Views of a tenant."""

from django.http import JsonResponse
from django.urls import path

from bazis_ws_channels import presence, publishing
from tests.places.tenants.people.models import User


async def publish(request, data):
    """Publish from async code, where another thread's connection knows the tenant."""
    user = await User.objects.aget(pk=1)
    count = await user.ws_apublish({"async": data})
    await publishing.abroadcast({"all": data})
    online = await presence.aonline(User.objects.all())
    return JsonResponse({"count": count, "online": sorted(online)})


urlpatterns = [path("publish/<data>/", publish)]
