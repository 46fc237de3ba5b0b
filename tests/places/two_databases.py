"""``python -m tests.places.two_databases``: users of a second database, and its transactions."""

import asyncio
from contextlib import suppress

import django

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from django.contrib.auth.signals import user_logged_out  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402

from bazis_ws_channels import publishing  # noqa: E402
from tests.project.models import User  # noqa: E402


class RolledBack(Exception):
    """Ends a transaction."""


def publish(data):
    """Publish in every way that takes the second database's transaction: 5 messages."""
    user = User.objects.using("other").get()
    user.ws_publish(data, on_commit=True)
    publishing.publish(User.objects.using("other"), data, on_commit=True)
    publishing.publish([user.pk], data, on_commit=True, using="other")
    publishing.broadcast(data, on_commit=True, using="other")
    publishing.notify([user.pk], lambda each: data, on_commit=True, using="other")


async def apublish(data):
    """Do so from async code: 4 messages."""
    user = await User.objects.using("other").aget()
    await user.ws_apublish(data, on_commit=True)
    await publishing.apublish(User.objects.using("other"), data, on_commit=True)
    await publishing.abroadcast(data, on_commit=True, using="other")
    await publishing.anotify([user.pk], lambda each: data, on_commit=True, using="other")


def end(user):
    """Do what ends sessions."""
    user_logged_out.send(User, request=None, user=user)
    user.set_password("new")
    user.save()


def write(data, *, roll_back):
    """Publish in a transaction."""
    with suppress(RolledBack), transaction.atomic(using="other"):
        publish(data)
        if roll_back:
            end(User.objects.using("other").get())
            raise RolledBack


async def awrite(data, *, roll_back):
    """Publish in a transaction of async code, which is that of the thread of its ORM."""
    atomic = transaction.atomic(using="other")
    await sync_to_async(atomic.__enter__)()
    await apublish(data)
    await sync_to_async(transaction.set_rollback)(roll_back, using="other")
    await sync_to_async(atomic.__exit__)(None, None, None)


call_command("migrate", database="other", verbosity=0)
User.objects.using("other").create(username="other")
write("rolled back", roll_back=True)
write("committed", roll_back=False)
asyncio.run(awrite("rolled async", roll_back=True))
asyncio.run(awrite("done async", roll_back=False))
