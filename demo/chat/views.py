"""Chat, and announcements to everybody."""

import logging

from django.contrib.auth import get_user_model
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bazis_ws_channels.exceptions import PublishError
from bazis_ws_channels.publishing import broadcast

from .delivery import send
from .models import ChatMessage
from .serializers import AnnouncementSerializer, ChatSerializer

__all__ = ["BroadcastView", "HistoryView", "SendView"]

log = logging.getLogger(__name__)

#: Messages that the page shows at a sign-in.
HISTORY = 200


class HistoryView(APIView):
    """The conversations so far, as the messages that the socket would bring.

    The page has read its position (`MeView`) before: what comes after that, the socket replays.
    """

    def get(self, request: Request) -> Response:
        messages = ChatMessage.objects.latest_of(request.user, HISTORY)
        return Response({"messages": [each.as_seen_by(request.user) for each in messages]})


class SendView(APIView):
    """A message from one user to another."""

    def post(self, request: Request) -> Response:
        serializer = ChatSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        users = get_user_model().objects.filter(is_active=True)
        recipient = users.filter(pk=serializer.validated_data["recipient_id"]).first()
        if recipient is None:
            return Response({"error": "User not found"}, status=404)
        text, key = serializer.validated_data["message"], serializer.validated_data.get("key")
        return Response({"status": send(request.user, recipient, text, key).status})


class BroadcastView(APIView):
    """An announcement to everybody connected; staff only."""

    permission_classes = (IsAuthenticated, IsAdminUser)

    def post(self, request: Request) -> Response:
        serializer = AnnouncementSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            broadcast({"type": "broadcast", "message": serializer.validated_data["message"]})
        except PublishError as error:
            log.warning("announcement not sent: %s", error)
            return Response({"detail": "Nobody can be reached now, try again."}, status=503)
        return Response({"status": "sent"})
