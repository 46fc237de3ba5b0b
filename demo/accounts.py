"""The people of the demo."""

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password

__all__ = ["PASSWORD", "make_accounts"]

PASSWORD = "demo"
NAMES = ("alice", "bob", "carol", "admin")


def make_accounts() -> list[str]:
    """Make those who don't exist yet; return their names."""
    users = get_user_model().objects
    known = set(users.filter(username__in=NAMES).values_list("username", flat=True))
    missing = [name for name in NAMES if name not in known]
    hashed = make_password(PASSWORD) if missing else ""  # once: it takes its time, on purpose
    for name in missing:
        email, is_staff = f"{name}@example.com", name == "admin"
        users.create(username=name, email=email, password=hashed, is_staff=is_staff)
    return missing
