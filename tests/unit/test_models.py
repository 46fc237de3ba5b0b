"""The user model's mixin, and what is built on it: what needs no database."""

from bazis_ws_channels import presence
from bazis_ws_channels.auth.tokens import verify
from bazis_ws_channels.models import UserWsMixin
from bazis_ws_channels.serializers import UserWsSerializerMixin
from bazis_ws_channels.viewsets import UserWsViewSet
from tests.project.models import User


def test_names(make_user):
    """Those of the contract."""
    user = make_user(7)
    assert (user.user_channel, user.ws_session) == ("user_ws.7", "user_ws.7.session")
    assert (user.is_online, user.last_seen) == (False, None)


async def test_ending_sessions(make_user):
    """And the async twin."""
    assert await make_user(7).ws_adisconnect() == 0


def test_tokens_and_ending_from_sync_code(people):
    """As `auth` does."""
    user = people["user1"]
    assert verify(user.ws_token(60)).user == "user1"
    assert user.ws_disconnect(revoke=False) == 0


def test_what_a_project_may_override(settings, make_user):
    """Nobody may be watched; the language is the project's."""
    settings.LANGUAGE_CODE = "fr"
    user = make_user(7)
    assert UserWsMixin.ws_can_watch(user, [1, 2]) == ()
    assert UserWsMixin.ws_language.fget(user) == "fr"


def test_a_reloaded_user_forgets_what_was_prefetched(make_user, monkeypatch):
    """It may have changed."""
    user = make_user(7)
    presence.prefetch([user])
    monkeypatch.setattr("django.db.models.Model.refresh_from_db", lambda self: None)
    assert "_ws_status" in vars(user)
    user.refresh_from_db()
    assert "_ws_status" not in vars(user)


def test_queries_are_made_when_they_are_read():
    """A viewset of the project's own queryset, or of all active users, in a fixed order."""
    view = UserWsViewSet()
    assert view.get_queryset().query.order_by == ("pk",)
    assert "is_active" in str(view.get_queryset().query)
    own = User.objects.filter(pk=1)
    assert type("Own", (UserWsViewSet,), {"queryset": own})().get_queryset().query.where
    assert issubclass(view.get_serializer_class(), UserWsSerializerMixin)
    assert view.get_serializer_class() is view.get_serializer_class()
