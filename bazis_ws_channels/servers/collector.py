"""Python's garbage collector in a process that holds many connections.

A connection is about 170 objects that live long. By itself Python examines all objects whenever a
quarter of them is new. With 10,000 connections that takes half a second, in which nobody is served,
and it was a third of what a handshake costs. But connections leave garbage only when they end. So
here Python examines young objects only, as often as ever, and all objects when a quarter of the
connections has ended.
"""

from __future__ import annotations

import gc
from typing import Any

from asgiref.sync import SyncToAsync
from django.core.signals import request_finished
from django.db import connections

from ..conf import conf
from ..counters import counts

__all__ = ["calm_collector", "collect_ended"]

#: Python's own thresholds, where it has generations: another setting is the project's.
_PYTHONS_OWN = frozenset({(700, 10, 10), (2000, 10, 10)})
#: Python examines young objects whenever 5,000 are new, and every other time also those that it has
#: examined once: some milliseconds' work each. An object that survives both is old, as connections
#: are. To examine them more often was a twentieth of what a connection costs.
#: By itself Python examines all objects when two and a half million are new. That is more than ten
#: thousand connections that come at once, and few enough that the garbage of other work of the
#: process, such as a site's views, takes some hundred MB at most.
_CALM = (5000, 0, 250)
#: The garbage of fewer connections is not worth a look at all objects.
_FEW = 500

_is_asked = False
_is_calm = False
_collected = 0


def calm_collector() -> None:
    """Let Python examine young objects only, and never those that start-up made. Done once a
    process; not at all where the project has set the collector itself, or turned it off.
    """
    global _is_asked, _is_calm
    if _is_asked:
        return
    _is_asked = True
    if conf.BAZIS_WS_TUNE_GC and gc.isenabled() and gc.get_threshold() in _PYTHONS_OWN:
        _is_calm = True
        gc.freeze()
        gc.set_threshold(*_CALM)
        request_finished.connect(_close, dispatch_uid="bazis_ws_channels.connections")


def _close(**kwargs: Any) -> None:
    """Close the database connections of a request that has a thread of its own, as under ASGI: the
    thread ends with it, so that ``CONN_MAX_AGE`` keeps them for nobody. They are in cycles, and
    would be open until all objects are examined.
    """
    if SyncToAsync.thread_sensitive_context.get(None) is not None:
        connections.close_all()


def collect_ended() -> None:
    """Collect the garbage of all ages if many connections have ended since the last time."""
    global _collected
    ended = counts.opened - counts.connections
    if _is_calm and ended - _collected >= max(_FEW, counts.connections // 4):
        _collected = ended
        gc.collect()
