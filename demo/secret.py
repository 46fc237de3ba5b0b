"""A secret of this installation, kept in a file that only its owner can read."""

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["read_or_make"]


def read_or_make(path: Path) -> str:
    """Return the secret in `path`; make it at the first call.

    Several processes may start at once: a file appears whole or not at all, and the first
    one to put it there wins.
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(64))
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    secret = path.read_text(encoding="ascii").strip()
    if len(secret) < 32:
        raise RuntimeError(f"{path} holds no secret: delete it, and a new one is made.")
    return secret
