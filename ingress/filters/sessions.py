"""Cookies of session affinity: what stands in one, and which browsers must not be told `SameSite=None`.

A value is "KEY|BACKEND": KEY says which endpoint, BACKEND which backend it is one of, so that the cookie of another
backend pins nobody.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

_OLD_BROWSERS = ("Chrome/4", "Chrome/5", "Chrome/6", "CPU iPhone OS 12", "iPad; CPU OS 12")
_OLD_SAFARI = ("Macintosh", "Intel Mac OS X 10_14", "Safari")


class Session(NamedTuple):
    key: str
    backend: str
    """As `backend_mark` has it."""


NO_SESSION = Session("", "")


def read_session(value: str | None) -> Session:
    """What a cookie says; what is no session of ours is of no backend."""
    key, _, backend = (value or "").partition("|")
    return Session(key, backend) if key else NO_SESSION


@lru_cache(1 << 12)
def backend_mark(backend: str) -> str:
    """Of a backend's key. How the backend is treated ("shop/cart:80#DIGEST") makes no other backend of it: sessions
    outlive a change of annotations."""
    return _digest(backend.partition("#")[0])


@lru_cache(1 << 16)
def endpoint_mark(endpoint: str, backend: str) -> str:
    """The KEY that names an endpoint, "10.0.0.1:80", of a backend."""
    return _digest(f"{backend.partition('#')[0]} {endpoint}")


def takes_same_site_none(user_agent: str) -> bool:
    """False for browsers that drop a cookie with `SameSite=None`, or read it as Strict.

    Source: chromium.org, "SameSite=None: Known Incompatible Clients", as ingress-nginx looks for them.
    """
    if any(each in user_agent for each in _OLD_BROWSERS):
        return False
    return not all(each in user_agent for each in _OLD_SAFARI) or "Chrome" in user_agent


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
