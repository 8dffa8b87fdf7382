"""What the answer to each question must look like, and the path it took.

A judge takes an Answer and says what is wrong with it, "" if nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

REFUSED = "Connection refused"
"""Says ECONNREFUSED; the exit status alone (7) may as well mean that there was no route."""

CURL_FLAGS = (
    "--silent", "--show-error", "--verbose", "--max-time", "5",
    "--write-out", r"\n%{http_code} %{local_ip} %{local_port} %{remote_ip} %{remote_port}",
)  # fmt: skip
"""Added to what is printed: they change nothing about the request."""


@dataclass(frozen=True)
class Answer:
    """What one request came to, seen from the side that asked."""

    status: int
    """Exit status of the command; 0 if there was an answer."""
    code: int = 0
    """HTTP status; 0 if there was none."""
    local: str = ""
    """ADDRESS:PORT the asking side used, as it knows it; the same for `remote`."""
    remote: str = ""
    said: Mapping[str, str] = field(default_factory=dict)
    """What the echo program said; empty if something else answered."""
    error: str = ""

    @property
    def peer_ip(self) -> str:
        """Who asked, as the program that answered saw it."""
        return ip_of(self.said.get("peer", ""))


Judge = Callable[[Answer], str]


def ip_of(where: str) -> str:
    return where.rpartition(":")[0]


def parse_curl(status: int, out: str, err: str) -> Answer:
    """Read what curl printed with CURL_FLAGS: the body, then one line of facts."""
    body, _, facts = out.rpartition("\n")
    fields = facts.split()
    if status or len(fields) != 5 or not fields[0].isdigit():
        return Answer(status or 1, error=curl_error(err))
    code, *ends = fields
    return Answer(0, int(code), f"{ends[0]}:{ends[1]}", f"{ends[2]}:{ends[3]}", parse_said(body))


def curl_error(err: str) -> str:
    """Of all that --verbose prints: why it could not connect, and the last word."""
    lines = [line.lstrip("* ").strip() for line in err.splitlines()]
    said = [line for line in lines if line.startswith(("connect to ", "curl: "))]
    return "; ".join(said) or "no answer"


def parse_datagram(status: int, out: str, err: str) -> Answer:
    """Read one line of JSON, which is all that a datagram brings back."""
    said = parse_said(out)
    return Answer(0, said=said) if said else Answer(status or 1, error=err.strip() or "no answer")


def parse_said(body: str) -> dict[str, str]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def all_of(*judges: Judge) -> Judge:
    """The first complaint of several judges."""
    return lambda answer: next((said for each in judges if (said := each(answer))), "")


def code(wanted: int) -> Judge:
    def judge(answer: Answer) -> str:
        if answer.status:
            return f"no answer: {answer.error}"
        return "" if answer.code == wanted else f"HTTP status {answer.code}, not {wanted}"

    return judge


def refused(answer: Answer) -> str:
    if answer.status and REFUSED in answer.error:
        return ""
    return f"not refused: {answer.error or answer.said or answer.code}"


def by_pod(names: Iterable[str], container: str = "") -> Judge:
    """One of these pods answered; in this container, if that is asked for."""
    wanted = tuple(names)

    def judge(answer: Answer) -> str:
        pod, inside = answer.said.get("pod", ""), answer.said.get("container", "")
        if pod not in wanted:
            return f"answered by {pod or 'nobody we know'}, not by {' or '.join(wanted)}: {answer.error or answer.said}"
        return f"answered by container {inside}, not {container}" if container and inside != container else ""

    return judge


def same_ends(answer: Answer) -> str:
    """Both sides name the same two addresses and ports: nothing between them has translated any."""
    if answer.said.get("peer") != answer.local:
        return f"the source was changed on the way: {answer.local} became {answer.said.get('peer')}"
    if answer.said.get("local") != answer.remote:
        return f"the destination was changed on the way: {answer.remote} became {answer.said.get('local')}"
    return ""


def same_source(answer: Answer) -> str:
    """The source kept its address and port, whatever the destination became."""
    if answer.said.get("peer") != answer.local:
        return f"the source was changed on the way: {answer.local} became {answer.said.get('peer')}"
    return ""


def seen_as(addresses: Iterable[str], what: str) -> Judge:
    """The program that answered saw the request come from one of these addresses."""
    wanted = tuple(addresses)

    def judge(answer: Answer) -> str:
        return "" if answer.peer_ip in wanted else f"it came from {answer.peer_ip}, which is not {what}"

    return judge


def not_seen_as(address: str, what: str) -> Judge:
    def judge(answer: Answer) -> str:
        return f"it came from {address}, {what}" if answer.peer_ip == address else ""

    return judge
