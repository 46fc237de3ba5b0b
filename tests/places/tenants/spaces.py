"""Which tenant it is: of a WebSocket by its host, else as django-tenants has set it.

docs/django.md shows this file.
"""

import time
from contextvars import ContextVar

from channels.db import database_sync_to_async
from django.db import connection
from django_tenants.utils import get_tenant_domain_model, schema_context

_schema = ContextVar("schema", default=None)
_known = {}  # host -> its schema, and until when that is believed


def namespace():
    """Return the current tenant's schema.

    For a WebSocket it chooses the schema as well, in the thread in which a query follows.
    """
    if (schema := _schema.get()) is not None:
        connection.set_schema(schema)
    return connection.schema_name


class TenantMiddleware:
    """ASGI middleware: remember the tenant of the host for this connection."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").partition(":")[0]
        schema = await _schema_of(host)
        if schema is None:
            await receive()
            return await send({"type": "websocket.close"})  # an HTTP 403: there is no such site
        _schema.set(schema)
        return await self.inner(scope, receive, send)


async def _schema_of(host):
    schema, until = _known.get(host, (None, 0))
    if time.monotonic() >= until:  # not at each of the handshakes that follow a restart
        schema = await _looked_up(host)
        if schema is not None:
            _known[host] = schema, time.monotonic() + 60
    return schema


@database_sync_to_async
def _looked_up(host):
    with schema_context("public"):
        domains = get_tenant_domain_model().objects.filter(domain=host)
        return domains.values_list("tenant__schema_name", flat=True).first()
