"""Basic authentication (RFC 7617): one of the parts of `access`.

A password hash takes milliseconds to a second, by design: it is done in a thread, and its verdict is kept, so that a
client pays once. What is kept is a keyed digest of name and password, never these.
"""

import asyncio
import base64
import binascii
import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable

import msgspec

from ingress.filters import passwords
from ingress.filters.api import Reply, Request, Tools

VERDICTS_MAX = 4096
"""Kept of one password file."""
GOOD_SECONDS = 300.0
BAD_SECONDS = 30.0
PENDING_MAX = 64
"""Different credentials being checked; who comes then gets 503: guessing must not take all memory."""

BUSY = Reply(503)


class BasicSpecification(msgspec.Struct, frozen=True):
    realm: str
    users: tuple[tuple[str, str], ...]
    """Name and hash, latin-1; of a name that is there twice the first counts."""


class Basic:
    """One password file."""

    def __init__(self, specification: BasicSpecification, tools: Tools) -> None:
        self._tools = tools
        self._users = dict(reversed(specification.users))
        realm = specification.realm.replace("\\", "\\\\").replace('"', '\\"')
        self.refusal = Reply(401, (("WWW-Authenticate", f'Basic realm="{realm}"'),))
        self._key = os.urandom(32)
        self._verdicts: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        """Digest -> verdict, and until when it counts."""
        self._pending: dict[bytes, asyncio.Task[bool]] = {}

    def check(self, request: Request) -> Reply | Awaitable[Reply | None] | None:
        """None: the client is who it says, and the log may say so too."""
        credentials = read_credentials(request.field("Authorization") or "")
        stored = self._users.get(credentials[0]) if credentials else None
        if credentials is None or not stored:
            return self.refusal
        user, password = credentials
        digest = hashlib.blake2b(f"{user}\0".encode("latin-1") + password, key=self._key).digest()
        verdict, until = self._verdicts.get(digest, (False, 0.0))
        if until > self._tools.now():
            return self._told(request, user, verdict)
        task = self._pending.get(digest)
        if task is None:
            if len(self._pending) >= PENDING_MAX:
                return BUSY
            task = self._pending[digest] = asyncio.ensure_future(self._verify(digest, password, stored))
        return self._later(request, user, task)

    async def _later(self, request: Request, user: str, task: "asyncio.Task[bool]") -> Reply | None:
        # Several clients may wait for it: one that goes away must not end it.
        return self._told(request, user, await asyncio.shield(task))

    def _told(self, request: Request, user: str, verdict: bool) -> Reply | None:
        if not verdict:
            return self.refusal
        request.user = user
        return None

    async def _verify(self, digest: bytes, password: bytes, stored: str) -> bool:
        try:
            verdict: bool = await self._tools.in_thread(lambda: passwords.fits(password, stored))
        finally:
            del self._pending[digest]
        until = self._tools.now() + (GOOD_SECONDS if verdict else BAD_SECONDS)
        self._verdicts.pop(digest, None)
        if len(self._verdicts) >= VERDICTS_MAX:
            self._verdicts.popitem(last=False)
        self._verdicts[digest] = verdict, until
        return verdict


def read_credentials(value: str) -> tuple[str, bytes] | None:
    """Of an Authorization field: name, in latin-1 whatever it is, and password. None: it is not Basic, or garbled."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip().encode("latin-1"), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (user.decode("latin-1"), password) if colon else None
