"""``python -m tests.presence.identities make [PK ...]``: make users, print tokens;
``read``: print who is online. JSON in, JSON out."""

import json
import sys

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402

from bazis_ws_channels import presence  # noqa: E402

User = get_user_model()


def make(*pks):
    """Make the table and a user for each primary key."""
    with connection.schema_editor() as editor:
        editor.create_model(User)
    users = [User.objects.create(pk=pk, username=f"user{n}") for n, pk in enumerate(pks)]
    return [[str(user.pk), user.ws_token(), user.ws_session] for user in users]


def read():
    """Tell who is online, by every way of asking."""
    users = list(User.objects.order_by("username"))
    return {
        "is_online": [user.is_online for user in users],
        "online": sorted(map(str, presence.online(users))),
        "online_users": sorted(map(str, presence.online_users())),
        "types": sorted({type(pk).__name__ for pk in presence.online_users()}),
        "last_seen": [user.last_seen is not None for user in users],
        "published": [user.ws_publish({"to": str(user.pk)}) for user in users],
    }


print(json.dumps({"make": make, "read": read}[sys.argv[1]](*json.loads(sys.argv[2]))))
