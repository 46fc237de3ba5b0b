"""Which tenant it is: of a WebSocket by its host, else as django-tenants has set it."""

from contextvars import ContextVar

from django.db import connection

_schema = ContextVar("schema", default=None)


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
        host = dict(scope["headers"])[b"host"].decode()
        _schema.set(host.partition(".")[0])
        return await self.inner(scope, receive, send)
