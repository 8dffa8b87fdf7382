"""Who may pass: lists of addresses, basic authentication and an external service, all of them or any (`satisfy`).

The order is nginx's: lists, basic, external. With "any" the first that says yes ends the asking; if none does, 401
comes before 403.
"""

from collections.abc import Awaitable

import msgspec

from ingress.filters.api import Filter, Reply, Request, Response, Tools
from ingress.filters.basic import Basic, BasicSpecification
from ingress.filters.external import External, ExternalSpecification, Verdict, refusal_of
from ingress.filters.networks import Networks, read_address

FORBIDDEN = Reply(403)

COOKIE_STATUSES = frozenset((200, 201, 204, 206, 301, 302, 303, 304, 307, 308))
"""Of responses to which nginx's add_header adds."""


class AccessSpecification(msgspec.Struct, frozen=True):
    allow: tuple[str, ...] = ()
    """Networks; empty: everybody. Nobody else passes."""
    deny: tuple[str, ...] = ()
    """Counts before `allow`."""
    basic: BasicSpecification | None = None
    external: ExternalSpecification | None = None
    any: bool = False
    open_paths: tuple[str, ...] = ()
    """Rules whose path begins so ask for nothing but the right address."""


class Access(Filter[AccessSpecification]):
    name = "access"
    Specification = AccessSpecification

    def __init__(self, specification: AccessSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        found = specification
        self._allow, self._deny = Networks(found.allow), Networks(found.deny)
        self._basic = Basic(found.basic, tools) if found.basic else None
        self._external = External(found.external, tools) if found.external else None
        self._any = found.any
        self._always_set_cookie = found.external is not None and found.external.always_set_cookie

    def request(self, request: Request) -> Reply | Awaitable[Reply | None] | None:
        allowed = self._listed(request)
        if request.rule_path.startswith(self.specification.open_paths) or not (self._basic or self._external):
            return FORBIDDEN if allowed is False else None
        if allowed is False and not self._any:
            return FORBIDDEN
        if allowed and self._any:
            return self._pass(request)
        before = FORBIDDEN if allowed is False else None
        if self._basic is None:
            return self._by_service(request, before)
        found = self._basic.check(request)
        if found is None or isinstance(found, Reply):
            return self._after_password(request, found, before)
        return self._wait(request, found, before)

    def response(self, request: Request, response: Response) -> None:
        cookies: tuple[str, ...] = request.notes.get(self.name, ())
        if cookies and (self._always_set_cookie or response.status in COOKIE_STATUSES):
            for each in cookies:
                request.add_response("Set-Cookie", each)

    def _listed(self, request: Request) -> bool | None:
        """By its address: False must not pass, True may, None says nothing."""
        if not self._allow and not self._deny:
            return None
        address = read_address(request.client)
        if address is None or address in self._deny:
            return False
        return address in self._allow if self._allow else None

    def _pass(self, request: Request, verdict: Verdict | None = None) -> Reply | None:
        """A password is for us alone, and what the service says of a client the client must not say itself.

        Not before it is known that it may pass: what is asked, and what verdicts are kept by, goes by what was sent.
        """
        if self._basic:
            request.remove("Authorization")
        if self._external:
            self._external.apply(request, verdict)
        return None

    async def _wait(self, request: Request, waiting: Awaitable[Reply | None], before: Reply | None) -> Reply | None:
        found = self._after_password(request, await waiting, before)
        return found if found is None or isinstance(found, Reply) else await found

    def _after_password(
        self, request: Request, refusal: Reply | None, before: Reply | None
    ) -> Reply | Awaitable[Reply | None] | None:
        """before, here and below: the refusal that another part has said already, if any one will do."""
        if refusal is None and self._any:
            return self._pass(request)
        if refusal is not None and not (self._any and refusal.status == 401):
            return self._refuse(request, refusal)
        return self._by_service(request, refusal or before)

    def _by_service(self, request: Request, before: Reply | None) -> Reply | Awaitable[Reply | None] | None:
        if self._external is None:
            return self._refuse(request, before) if before else self._pass(request)
        verdict = self._external.kept(request)
        if verdict is None:
            return self._ask(request, self._external, before)
        return self._judge(request, verdict, before)

    async def _ask(self, request: Request, external: External, before: Reply | None) -> Reply | None:
        return self._judge(request, await external.ask(request), before)

    def _judge(self, request: Request, verdict: Verdict, before: Reply | None) -> Reply | None:
        if verdict.cookies:
            request.notes[self.name] = verdict.cookies
        refusal = refusal_of(verdict)
        if refusal is None:
            return self._pass(request, verdict)
        return self._refuse(request, _worse(refusal, before) if before else refusal)

    def _refuse(self, request: Request, refusal: Reply) -> Reply:
        signin = self._external.signin(request) if self._external and refusal.status == 401 else None
        return signin or refusal


def _worse(one: Reply, other: Reply) -> Reply:
    """Of two refusals the one the client is told: what it can do something about."""
    if one.status == other.status == 401:
        return Reply(401, (*other.fields, *one.fields))
    return other if one.status == 403 and other.status == 401 else one
