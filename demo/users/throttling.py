"""How often a password may be guessed."""

from hashlib import sha256
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

__all__ = ["SignInThrottle"]


class SignInThrottle(SimpleRateThrottle):
    """Limit the attempts for one name from one address; a right password forgives the others.

    They are counted in Django's cache, here the memory of each process. With one cache for all of
    them (Redis, Memcached) the limit holds for all of them together.
    """

    rate = "20/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        data = request.data if isinstance(request.data, dict) else {}
        name = sha256(str(data.get("username")).encode("utf-8", "replace")).hexdigest()
        return f"sign-in.{self.get_ident(request)}.{name}"

    def forgive(self, request: Request) -> None:
        self.cache.delete(self.get_cache_key(request, None))
