"""Python's garbage collector in a process that holds many connections.

A connection is about 170 objects that live long. Python looks at all objects there are whenever
a quarter of them is new: at 10,000 connections for half a second, in which nobody is served, and
for a third of what a handshake costs. But connections leave garbage when they end. So Python looks
at the young objects only, as it does anyway, and we let it look at all when a quarter has ended.
"""

from __future__ import annotations

import gc

from ..conf import conf
from ..counters import counts

__all__ = ["calm_collector", "collect_ended"]

#: Python's own thresholds, where it has generations: another setting is the project's.
_PYTHONS_OWN = frozenset({(700, 10, 10), (2000, 10, 10)})
#: Python looks at so many young objects, and every other time again at those that it has looked at
#: once: some milliseconds' work each. What is there the third time is old, as connections are: to
#: look at them more often was a twentieth of what a connection costs.
#: It looks at all by itself when two and a half million are new: more than ten thousand connections
#: that come at once, and few enough for the garbage of whatever else the process does, a site's
#: views say, to take some hundred MB at most.
_CALM = (5000, 0, 250)
#: Connections whose garbage may wait at least.
_FEW = 500

_is_asked = False
_is_calm = False
_collected = 0


def calm_collector() -> None:
    """Once a process: let Python look at young objects only, and never at what start-up made.
    Where the project has set the collector itself, or turned it off, nothing is done.
    """
    global _is_asked, _is_calm
    if _is_asked:
        return
    _is_asked = True
    if conf.BAZIS_WS_TUNE_GC and gc.isenabled() and gc.get_threshold() in _PYTHONS_OWN:
        _is_calm = True
        gc.freeze()
        gc.set_threshold(*_CALM)


def collect_ended() -> None:
    """Look at all objects if many connections have ended since that was done."""
    global _collected
    ended = counts.opened - counts.connections
    if _is_calm and ended - _collected >= max(_FEW, counts.connections // 4):
        _collected = ended
        gc.collect()
