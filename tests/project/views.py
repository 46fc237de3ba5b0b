"""Views that publish and show presence, as a project writes them."""

import json

from django.contrib.auth import authenticate, login, logout
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.project.models import User


def log_in(request):
    """Log in with ``username`` and ``password``."""
    user = authenticate(request, **json.loads(request.body))
    login(request, user)
    return HttpResponse(status=204)


def log_out(request):
    """Log out."""
    logout(request)
    return HttpResponse(status=204)


def publish(request, pk):
    """Publish the body to a user."""
    user = get_object_or_404(User, pk=pk)
    return JsonResponse({"connections": user.ws_publish(json.loads(request.body))})


class DrfPublish(APIView):
    """The same in DRF."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request, pk):
        """Publish the body to a user."""
        user = get_object_or_404(User, pk=pk)
        return Response({"connections": user.ws_publish(request.data)})


def online_page(request):
    """Show who is online in a template."""
    users = User.objects.order_by("pk").with_presence()
    return render(request, "online.html", {"users": users})
