"""A process that answers lists of users by DRF, with and without `is_online`."""

import json
import sys
import time

import django


def views() -> dict:
    """Make the two views; they differ in nothing but the mixin."""
    from django.contrib.auth import get_user_model
    from rest_framework import serializers, viewsets

    from bazis_ws_channels.serializers import UserWsSerializerMixin

    User = get_user_model()

    class Plain(serializers.ModelSerializer):
        class Meta:
            model = User
            fields = ("id", "username", "email")

    class Online(UserWsSerializerMixin, serializers.ModelSerializer):
        class Meta:
            model = User
            fields = ("id", "username", "email", "is_online")

    def view(serializer):
        class UserViewSet(viewsets.ReadOnlyModelViewSet):
            serializer_class = serializer

            def get_queryset(self):
                return User.objects.order_by("pk")[: int(self.request.GET["size"])]

        return UserViewSet.as_view({"get": "list"})

    return {"plain": view(Plain), "online": view(Online)}


def main() -> None:
    """Answer each command line on standard input."""
    django.setup()
    from rest_framework.test import APIRequestFactory

    factory, found = APIRequestFactory(), views()
    for line in sys.stdin:
        command = json.loads(line)
        seconds = []
        for _ in range(command["count"]):
            request = factory.get("/", {"size": command["size"], "format": "json"})
            started = time.perf_counter()
            response = found[command["view"]](request)
            body = response.render().content
            seconds.append(time.perf_counter() - started)
        users = json.loads(body)
        online = sum(bool(user.get("is_online")) for user in users)
        print(json.dumps({"seconds": seconds, "online": online, "users": len(users)}), flush=True)


if __name__ == "__main__":
    main()
