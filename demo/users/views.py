"""Tokens and the list of users."""

from django.contrib.auth import authenticate, get_user_model
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_json_api.pagination import JsonApiPageNumberPagination
from rest_framework_json_api.renderers import JSONRenderer

from bazis_ws_channels.viewsets import UserWsViewSet

from .authentication import BearerAuthentication
from .serializers import CredentialsSerializer, UserSerializer
from .throttling import SignInThrottle

__all__ = ["MeView", "RenewView", "TokenView", "UserViewSet"]


class Pages(JsonApiPageNumberPagination):
    page_size = 100


class UserViewSet(UserWsViewSet):
    """JSON:API documents of type ``users.user``; a page costs one presence round trip."""

    queryset = get_user_model().objects.filter(is_active=True).order_by("username")
    serializer_class = UserSerializer
    renderer_classes = (JSONRenderer,)
    pagination_class = Pages


class TokenView(APIView):
    """A token for a name and a password. Too many attempts are a 429 with `Retry-After`."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (SignInThrottle,)

    def post(self, request: Request) -> Response:
        serializer = CredentialsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = authenticate(request, **serializer.validated_data)
        if user is None:
            # DRF turns a 401 into a 403 where a view has no authenticators.
            detail = {"detail": "Wrong name or password."}
            challenge = BearerAuthentication().authenticate_header(request)
            return Response(detail, status=401, headers={"WWW-Authenticate": challenge})
        SignInThrottle().forgive(request)
        return Response({"token": user.ws_token()})


class RenewView(APIView):
    """A new token for one that is still good."""

    def post(self, request: Request) -> Response:
        return Response({"token": request.user.ws_token()})


class MeView(APIView):
    """The token's user, for the page, with the position of the user's messages now.

    The page loads all other state after this: messages published in between are replayed to it.
    """

    def get(self, request: Request) -> Response:
        user = request.user
        return Response(
            {
                "position": user.ws_position,
                "id": user.pk,
                "username": user.get_username(),
                "is_staff": user.is_staff,
            }
        )
