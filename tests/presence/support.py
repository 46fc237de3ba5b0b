"""Tools of the presence tests: quick settings, the edges told, the content of Redis."""

import contextlib

from asgiref.sync import sync_to_async

from bazis_ws_channels.presence.stores.encoding import encode
from tests.kit import Client, Daphne, until
from tests.project.receivers import EDGES

#: A lease short enough to wait for, and long enough for a busy machine to renew.
LEASE, PERIOD, GRACE = 1.5, 0.4, 0.5
QUICK = {
    "BAZIS_WS_LEASE_SECONDS": LEASE,
    "BAZIS_WS_RENEW_SECONDS": PERIOD,
    "BAZIS_WS_OFFLINE_GRACE_SECONDS": GRACE,
}
#: Keys that outlive connections, as documented.
LASTING = {"user_ws.last_seen", "user_ws.seq", EDGES}


def told(redis, *users):
    """Return the edges told so far as ``["online:1", ...]``, of `users` only where given."""
    edges = redis.lrange(EDGES, 0, -1)
    pks = {str(user.pk) for user in users}
    return [edge for edge in edges if not users or edge.partition(":")[2] in pks]


async def all_noted(redis):
    """Wait until all changes are told, and noted as told: those that a process has told and not
    noted when it is killed are told again by another.
    """
    await until(lambda: not redis.exists("user_ws.edges"))


def logged(server, text):
    """Return how often a server has logged a line that begins so."""
    return sum(line.startswith(text) for line in server.log.splitlines())


def times_logged(servers, text):
    """Return the same of each of several servers."""
    return [logged(server, text) for server in servers]


def keys(redis):
    """Return the keys that presence holds, but for those that last, and those of the history."""
    held = set(redis.keys("*")) - LASTING
    return {key for key in held if not key.startswith(("user_ws.{", "user_ws.once."))}


def sha_of(question):
    """Return the name of the script that asks a question, as it goes over the wire."""
    return encode(question, []).script.sha.encode()


def commands(redis):
    """Return how many commands the presence of all processes has sent so far."""
    statistics = redis.info("commandstats")
    names = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_getex", "cmdstat_touch")
    return sum(statistics.get(name, {}).get("calls", 0) for name in names)


async def is_online(user):
    """Return `user.is_online`, as sync code reads it."""
    return await sync_to_async(lambda: user.is_online)()


async def open_all(stack, connections):
    """Open ``[(server, user), ...]`` within an `AsyncExitStack`; return the clients."""
    clients = []
    for server, user in connections:
        client = await stack.enter_async_context(Client(server.ws, user.ws_token(3600 * 24)))
        await client.subscribed()
        clients.append(client)
    return clients


@contextlib.contextmanager
def two(settings):
    """Run two daphnes, which start at the same time."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server) for server in (Daphne(settings), Daphne(settings))]


@contextlib.contextmanager
def round_trips(redis, expected):
    """Assert how many commands Redis gets from clients meanwhile."""
    before = _scripts_run(redis)
    yield
    assert _scripts_run(redis) - before == expected


def _scripts_run(redis):
    statistics = redis.info("commandstats")
    names = ("cmdstat_evalsha", "cmdstat_eval")
    return sum(statistics.get(name, {}).get("calls", 0) for name in names)


class FutureDaphne(Daphne):
    """daphne on a machine whose clock is an hour fast."""

    def command(self):
        """Return the command line."""
        python, option, _, *arguments = super().command()
        return [python, option, "tests.presence.future", *arguments]
