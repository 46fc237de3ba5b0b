"""Users and sign-ins in the API."""

from django.contrib.auth import get_user_model
from rest_framework import serializers
from rest_framework_json_api.serializers import ModelSerializer

from bazis_ws_channels.serializers import UserWsSerializerMixin

__all__ = ["CredentialsSerializer", "UserSerializer"]


class UserSerializer(UserWsSerializerMixin, ModelSerializer):
    class Meta:
        model = get_user_model()
        resource_name = "users.user"
        fields = ("username", "email", "is_online", "last_seen")
        read_only_fields = fields


class CredentialsSerializer(serializers.Serializer):
    username = serializers.CharField(max_length=150, trim_whitespace=False)
    password = serializers.CharField(max_length=1000, trim_whitespace=False)
