"""Who is online, on any process or machine."""

from .queries import (
    Status,
    acount,
    alast_seen,
    aonline,
    aonline_count,
    aonline_users,
    astatuses,
    count,
    last_seen,
    online,
    online_count,
    online_users,
    prefetch,
    statuses,
)

__all__ = [
    "Status",
    "acount",
    "alast_seen",
    "aonline",
    "aonline_count",
    "aonline_users",
    "astatuses",
    "count",
    "last_seen",
    "online",
    "online_count",
    "online_users",
    "prefetch",
    "statuses",
]
