"""When each request is meant to be sent: a rate over time, made of straight pieces.

A profile is written as one rate ("500"), or as pieces: "100@10s,100..1000@30s,1000@20s" is ten seconds at 100
requests/s, a ramp to 1000 within thirty seconds, and twenty seconds there. Steps are pieces with different rates.
"""

import re
from dataclasses import dataclass

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|)")
_PIECE = re.compile(r"(?P<first>\d+(?:\.\d+)?)(?:\.\.(?P<last>\d+(?:\.\d+)?))?(?:@(?P<time>\S+))?")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time in which the rate goes in a straight line from `rate_first` to `rate_last`, in requests/s."""

    seconds: float
    rate_first: float
    rate_last: float

    @property
    def requests(self) -> float:
        return self.seconds * (self.rate_first + self.rate_last) / 2


def parse_duration(text: str) -> float:
    """ "1.5s", "200ms", "2m" or a bare number of seconds -> seconds. ValueError says what is accepted."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 10s, 500ms or 2m")
    return float(match[1]) * _SECONDS[match[2]]


def parse_profile(text: str, duration_seconds: float) -> tuple[Piece, ...]:
    """Turn a profile's text into pieces; a piece without a time takes what is left of `duration_seconds`."""
    pieces: list[Piece] = []
    left = duration_seconds
    parts = text.split(",")
    for position, part in enumerate(parts):
        match = _PIECE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is not a rate; write for example 500, 500@10s or 100..1000@30s")
        if match["time"] is None and position < len(parts) - 1:
            raise ValueError(f"{part!r} has no time; only the last piece may leave it out")
        seconds = left if match["time"] is None else parse_duration(match["time"])
        try:
            first = float(match["first"])
            last = float(match["last"]) if match["last"] else first
        except ValueError:
            raise ValueError(f"{part!r} is not a rate; write for example 500, 500@10s or 100..1000@30s") from None
        if seconds <= 0:
            raise ValueError(f"{part!r}: no time is left for it in {duration_seconds:g} s")
        pieces.append(Piece(seconds, first, last))
        left -= seconds
    if not any(piece.requests for piece in pieces):
        raise ValueError(f"{text!r} sends nothing: every rate is 0")
    return tuple(pieces)


def share(pieces: tuple[Piece, ...], processes: int) -> tuple[Piece, ...]:
    """The part of a profile that one of several equal processes sends."""
    return tuple(Piece(p.seconds, p.rate_first / processes, p.rate_last / processes) for p in pieces)
