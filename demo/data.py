"""The folder where the demo keeps its files, and the secret of this installation in it."""

import contextlib
import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

__all__ = ["data_file", "read_or_make"]

ADVICE = "Let DEMO_DATA_DIR name another folder, or set SECRET_KEY and DATABASE_URL."


def data_file(name: str) -> Path:
    """Return the path of a file in the data folder. It is made if it is missing; it must be
    writable, for SQLite needs files beside the database.
    """
    folder = Path(os.environ.get("DEMO_DATA_DIR") or Path(__file__).resolve().parent / ".data")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The folder {folder} can't be made: {error.strerror}. {ADVICE}"
        ) from None
    if not os.access(folder, os.W_OK):
        raise ImproperlyConfigured(f"The folder {folder} is read-only. {ADVICE}")
    return folder / name


def read_or_make(path: Path) -> str:
    """Return the secret in `path`, a file that only its owner can read; make it at the first call.

    Several processes may start at once: a file appears whole or not at all, and the first
    one to put it there wins.
    """
    try:
        if not path.exists():
            make(path)
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The secret can't be kept in {path}: {error.strerror}. {ADVICE}"
        ) from None
    if len(secret) < 32:
        raise ImproperlyConfigured(f"{path} holds no secret: delete it, and a new one is made.")
    return secret


def make(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
