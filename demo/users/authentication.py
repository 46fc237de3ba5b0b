"""The Bearer tokens of the socket, for the HTTP API."""

import logging
from typing import Any

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from bazis_ws_channels.auth import authenticate, user_from_token
from bazis_ws_channels.exceptions import AuthenticationFailed, PresenceUnavailable

__all__ = ["BearerAuthentication"]

log = logging.getLogger(__name__)


class BearerAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        try:
            return self.user(token), token
        except AuthenticationFailed as error:
            raise exceptions.AuthenticationFailed(error.detail, error.code) from None

    def user(self, token: str) -> Any:
        try:
            return user_from_token(token)
        except PresenceUnavailable:
            # Redis is away, so revocations can't be checked. The chat goes on, because a token
            # lives for minutes. A bank would answer 503 here.
            log.warning("presence store out of reach: revocation not checked")
            return authenticate(token).user

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
