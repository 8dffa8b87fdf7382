"""A recorded access log as load: the same requests, at the same times.

Reads the "combined" format of nginx and Apache, and ingress-nginx's "upstreaminfo", which begins with it:

    192.0.2.1 - - [21/Nov/2026:10:00:01 +0000] "GET /cart HTTP/1.1" 200 12 "https://ref/" "curl/8" 512 0.003 ...

Logs tell times in whole seconds: the requests of one second are spread evenly over it. They do not tell hosts and
bodies: the host is the scenario's, and the length of a body is what is left of upstreaminfo's request length after our
own head. Pure.
"""

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from bench.load.scenario import BadScenario, Expect, Replay, Request, Scenario, message

_LINE = re.compile(
    r'\S+ \S+ .*?\[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>/\S*)(?: HTTP/[\d.]+)?" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"(?: (?P<length>\d+) [\d.]+)?)?'
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `second` is Unix time; `length` is that of the whole request, 0 when it is not told."""

    second: int
    method: str
    path: str
    status: int
    referer: str
    agent: str
    length: int


def parse_log(lines: Iterable[str]) -> tuple[list[Entry], int]:
    """The entries in order of time, and how many lines were none."""
    entries: list[Entry] = []
    unread = 0
    for line in lines:
        match = _LINE.match(line)
        try:
            second = unix_seconds(match["time"]) if match else 0
        except ValueError:
            match = None
        if match is None:
            unread += bool(line.strip())
            continue
        entries.append(
            Entry(
                second,
                match["method"],
                match["path"],
                int(match["status"]),
                _field(match["referer"]),
                _field(match["agent"]),
                int(match["length"] or 0),
            )
        )
    entries.sort(key=lambda entry: entry.second)
    return entries, unread


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(r"(\d{2})/(\w{3})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")


def unix_seconds(text: str) -> int:
    """ "21/Nov/2026:10:00:01 +0100" -> seconds since 1970. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS or not 1 <= int(match[1]) <= 31:
        raise ValueError(f"{text!r} is no time of an access log")
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    offset = int(match[8]) * 3600 + int(match[9]) * 60
    local = calendar.timegm((year, _MONTHS.index(match[2]) + 1, day, hour, minute, second))
    return local - (offset if match[7] == "+" else -offset)


def _field(text: str | None) -> str:
    return "" if text in (None, "-") else str(text)


def times(entries: list[Entry], speed: float) -> list[float]:
    """Seconds from the start for each entry: spread over its second, then `speed` times as fast."""
    found: list[float] = []
    for position, entry in enumerate(entries):
        if position == 0 or entries[position - 1].second != entry.second:
            begins = position
            stop = position
            while stop < len(entries) and entries[stop].second == entry.second:
                stop += 1
        within = (position - begins) / (stop - begins)
        found.append((entry.second - entries[0].second + within) / speed)
    return found


def recorded(scenario: Scenario, replay: Replay, lines: Iterable[str]) -> Scenario:
    """The scenario with the log's requests and their times in it. Raises BadScenario when the log has none."""
    entries, unread = parse_log(lines)
    kept = [entry for entry in entries if entry.method in replay.methods]
    if not kept:
        raise BadScenario(
            f"replay.log: {replay.log} has no request with a method of {', '.join(replay.methods)} "
            f"({len(entries)} others, {unread} lines that are not of the combined or upstreaminfo format)"
        )
    numbers: dict[Entry, int] = {}
    recording = []
    for entry, seconds in zip(kept, times(kept, replay.speed), strict=True):
        recording.append((seconds, numbers.setdefault(replace(entry, second=0), len(numbers))))
    requests = tuple(_request(scenario, replay, entry) for entry in numbers)
    return msgspec.structs.replace(scenario, requests=requests, recording=tuple(recording), replay=None)


def _request(scenario: Scenario, replay: Replay, entry: Entry) -> Request:
    headers = {"User-Agent": entry.agent or "-"}
    if entry.referer:
        headers["Referer"] = entry.referer
    made = Request(
        path=entry.path,
        method=entry.method,
        host=replay.host,
        headers=headers,
        expect=Expect(status=entry.status) if replay.expect_status else None,
    )
    body_bytes = entry.length - len(message(scenario, made))
    if entry.length and body_bytes > 0 and entry.method in ("POST", "PUT", "PATCH"):
        made = msgspec.structs.replace(made, body_bytes=body_bytes)
    return made
