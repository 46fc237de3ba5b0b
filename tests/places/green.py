"""``python -m tests.places.green gevent|eventlet PK``: publish and use the ORM in green threads."""

import sys

if sys.argv[1] == "gevent":
    import gevent.monkey

    gevent.monkey.patch_all()
    from gevent.pool import Pool
else:
    import eventlet

    eventlet.monkey_patch()
    from eventlet import GreenPool as Pool

import django

django.setup()

from django.contrib.auth.signals import user_logged_out  # noqa: E402

from bazis_ws_channels import presence, publishing  # noqa: E402
from tests.project.models import User  # noqa: E402


def work(number):
    """Do what a request does."""
    user = User.objects.get(pk=sys.argv[2])
    user.ws_publish({"work": number})
    publishing.broadcast({"all": number})
    return user.is_online, presence.online_count(), User.objects.count()


publishing.broadcast("first")
publishing.broadcast("second")
assert User.objects.count() == 1
user = User.objects.get()
user_logged_out.send(User, request=None, user=user)
user.set_password("new")
user.save()
user.is_active = False
user.save()
assert User.objects.count() == 1

pool = Pool(20)
if sys.argv[1] == "gevent":
    results = pool.map(work, range(100))
else:
    results = list(pool.imap(work, range(100)))
assert results == [(False, 0, 1)] * 100, results
