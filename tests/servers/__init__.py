"""What holds under which ASGI server: a target of its own, ``pytest -m servers``.

It needs ``pip install -e '.[servers]'``.
"""
