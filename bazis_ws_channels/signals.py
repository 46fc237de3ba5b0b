"""Signals of changes of the online status: sent once per change, not once per connection.

Receivers get ``user_id`` (the primary key), ``user`` (the instance, loaded at first use), ``at``
(an aware datetime, by the presence store's clock) and ``namespace`` (that of the user, see
``BAZIS_WS_NAMESPACE``: a receiver that looks up a tenant's user chooses the tenant first). They
run in one of the server processes; an exception in a receiver is logged and stops nothing.
"""

from django.dispatch import Signal

__all__ = ["user_offline", "user_online"]

#: Sent when a user without a connection gets one.
user_online = Signal()

#: Sent when a user's last connection is gone and the grace has passed, or its process died.
user_offline = Signal()
