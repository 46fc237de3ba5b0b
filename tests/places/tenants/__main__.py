"""``python -m tests.places.tenants COMMAND [TENANT]``: what a tenant's sync code does; JSON out."""

import json
import sys

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django_tenants.utils import schema_context  # noqa: E402

from bazis_ws_channels import presence, publishing  # noqa: E402
from tests.places.tenants.models import Domain, Tenant  # noqa: E402
from tests.places.tenants.people.models import User  # noqa: E402


def make():
    """Make two tenants, with a user 1 each and a user 2 in the first."""
    with connection.schema_editor() as editor:
        editor.create_model(Tenant)
        editor.create_model(Domain)
    tokens = {}
    for name in ("a", "b"):
        tenant = Tenant.objects.create(schema_name=name, name=name)
        Domain.objects.create(domain=f"{name}.localhost", tenant=tenant, is_primary=True)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {name}")
        with schema_context(name):
            with connection.schema_editor() as editor:
                editor.create_model(User)
            users = [User.objects.create(username=f"{name}{n}") for n in range(2)]
            tokens[name] = [user.ws_token() for user in users]
    return tokens


def publish():
    """Publish to user 1, and to everybody."""
    user = User.objects.get(pk=1)
    count = user.ws_publish({"to": connection.schema_name})
    publishing.broadcast({"all": connection.schema_name})
    return count


def publish_later():
    """Do so after a commit that comes in another tenant's context."""
    with schema_context("public"), transaction.atomic(), schema_context(sys.argv[2]):
        User.objects.get(pk=1).ws_publish({"later": sys.argv[2]}, on_commit=True)


def password():
    """Give user 1 a new password; the commit comes in another tenant's context."""
    with schema_context("public"), transaction.atomic(), schema_context(sys.argv[2]):
        user = User.objects.get(pk=1)
        user.set_password("new")
        user.save()


def online():
    """Tell who is online, by every way of asking."""
    users = User.objects.order_by("pk")
    return [
        sorted(presence.online(users)),
        sorted(presence.online_users()),
        presence.online_count(),
        [user.is_online for user in users],
    ]


with schema_context(sys.argv[2] if len(sys.argv) > 2 else "public"):
    sys.stdout.write(json.dumps(globals()[sys.argv[1]]()))
