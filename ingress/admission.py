"""The validating admission webhook: the API server asks before it stores an Ingress (admission.k8s.io/v1).

It answers from the live tables in the supervisor process, executes nothing, and says yes to whatever is not ours. When
it does not answer, the API server decides by the webhook's failurePolicy; requests are served all the same.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from ingress.routes.admission import Verdict
from lb.cluster.objects import BadObject, Ingress, decode

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 9_000_000
"""As ingress-nginx; etcd stores nothing as large."""
WARNING_OCTETS = 250
"""kube-apiserver cuts longer ones."""
LOOK_SECONDS = 10.0
SHUTDOWN_SECONDS = 1.0

Judge = Callable[[Ingress], Verdict]


class BadReview(Exception):
    """What was sent is no AdmissionReview."""


class _Request(msgspec.Struct):
    uid: str
    operation: str = ""
    object: dict[str, Any] | None = None
    kind: dict[str, str] = {}


class _Review(msgspec.Struct):
    request: _Request
    kind: str = ""


def load_pair(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises OSError or ssl.SSLError for files that are missing or no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class AdmissionWebhook:
    """Answers on one listening socket, by TLS. The certificate's files are read again when they change."""

    def __init__(self, judge: Judge, listening: socket.socket, context: ssl.SSLContext, files: Sequence[Path]) -> None:
        """context: made of `files`, certificate and key, by load_pair."""
        self.judge = judge
        self.listening = listening
        self.context = context
        self.files = files
        self.reviewed = 0
        self.refused = 0
        self._stamp = self._changed()

    async def run(self) -> None:
        """Serve until cancelled."""
        application = web.Application(client_max_size=BODY_LIMIT_BYTES)
        application.router.add_post("/{path:.*}", self.review)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.SockSite(runner, self.listening, ssl_context=self.context).start()
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self.renew()
        finally:
            await runner.cleanup()

    def renew(self) -> None:
        """Read the files again if they have changed: new connections get the new certificate."""
        stamp = self._changed()
        if stamp == self._stamp:
            return
        try:
            load_pair(self.files[0], self.files[1])  # half a pair would spoil the one in use
            self.context.load_cert_chain(self.files[0], self.files[1])
            self._stamp = stamp
        except (OSError, ssl.SSLError) as error:
            log.warning("the webhook's certificate stays as it was: %s", error)

    def _changed(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in self.files)

    async def review(self, request: web.Request) -> web.Response:
        try:
            answer = self.answer(await request.read())
        except BadReview as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.json_response(answer)

    def answer(self, body: bytes) -> dict[str, Any]:
        """The AdmissionReview that answers one. Raises BadReview."""
        try:
            asked = msgspec.json.decode(body, type=_Review).request
        except msgspec.MsgspecError as error:
            raise BadReview(f"not an AdmissionReview: {error}") from None
        self.reviewed += 1
        errors, warnings = self._verdict(asked)
        self.refused += bool(errors)
        response: dict[str, Any] = {"uid": asked.uid, "allowed": not errors}
        if warnings:
            response["warnings"] = [_cut(each) for each in warnings]
        if errors:
            response["status"] = {"code": 400, "reason": "Invalid", "message": "; ".join(errors)}
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

    def _verdict(self, asked: _Request) -> tuple[list[str], list[str]]:
        if asked.operation == "DELETE" or asked.object is None or asked.object.get("kind") != Ingress.KIND:
            return [], []
        try:
            found = decode(asked.object)
        except BadObject as error:
            return [str(error)], []
        assert isinstance(found, Ingress)
        verdict = self.judge(found)
        return [str(each) for each in verdict.errors], [str(each) for each in verdict.warnings]


def _cut(text: str) -> str:
    octets = text.encode()
    return text if len(octets) <= WARNING_OCTETS else octets[:WARNING_OCTETS].decode(errors="ignore") + "..."
