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
from .serializers import AnnouncementSerializer, ChatSerializer

__all__ = ["BroadcastView", "SendView"]

log = logging.getLogger(__name__)


class SendView(APIView):
    """A message from one user to another."""

    def post(self, request: Request) -> Response:
        serializer = ChatSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        users = get_user_model().objects.filter(is_active=True)
        recipient = users.filter(pk=serializer.validated_data["recipient_id"]).first()
        if recipient is None:
            return Response({"error": "User not found"}, status=404)
        delivered = send(request.user, recipient, serializer.validated_data["message"])
        return Response({"status": "sent" if delivered else "saved_offline"})


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
