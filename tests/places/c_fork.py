"""``python -m tests.places.c_fork``: publish, fork as C code does, publish in parent and child."""

import ctypes
import os

import django

django.setup()

from bazis_ws_channels import presence, publishing  # noqa: E402

publishing.publish([1, 2], "before")
fork = ctypes.PyDLL(None).fork  # none of Python's handlers runs in the child
for _ in range(5):
    child = fork()
    if not child:
        publishing.publish([1, 2], "child")
        presence.statuses([1, 2])
        os._exit(0)
    publishing.publish([1, 2], "parent")
    assert os.waitpid(child, 0)[1] == 0
