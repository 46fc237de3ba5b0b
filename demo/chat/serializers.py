"""Input of chat and announcements. Texts are any Unicode that JSON and databases can hold."""

from rest_framework import serializers

__all__ = ["AnnouncementSerializer", "ChatSerializer"]


class ChatSerializer(serializers.Serializer):
    recipient_id = serializers.IntegerField()
    message = serializers.CharField(max_length=4000)
    key = serializers.UUIDField(required=False)


class AnnouncementSerializer(serializers.Serializer):
    message = serializers.CharField(max_length=1000)
