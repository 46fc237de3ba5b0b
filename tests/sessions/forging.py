"""Keys and tokens, good and bad, made without the package's own code."""

import base64
import hashlib
import hmac
import json
import time
from functools import lru_cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.conf import settings
from jose import jwt


def b64(data):
    """Encode as JWTs do (RFC 7515, section 2)."""
    raw = data if isinstance(data, bytes) else data.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(header, payload, secret=None):
    """Return header and payload, each JSON text or what becomes it, signed by HMAC-SHA256."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    signed = ".".join(b64(part) for part in parts)
    secret = (secret or settings.SECRET_KEY).encode()
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{b64(signature)}"


def claims(user="alice", /, **more):
    """Return good claims; a claim given as `...` is left out."""
    merged = {"sub": user, "exp": int(time.time()) + 600, **more}
    return {claim: value for claim, value in merged.items() if value is not ...}


def sign(user="alice", /, *, key=None, algorithm="HS256", headers=None, **more):
    """Return a token as an honest issuer makes it."""
    key = settings.SECRET_KEY if key is None else key
    return jwt.encode(claims(user, **more), key, algorithm=algorithm, headers=headers)


@lru_cache
def rsa_pair(name="first"):
    """Return a private and a public RSA key as PEM."""
    return _pem(rsa.generate_private_key(65537, 2048))


@lru_cache
def ec_pair(name="first"):
    """Return a private and a public P-256 key as PEM."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def _pem(private):
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return secret.decode(), public.decode()
