import pytest

from bench.load.arrivals import Piece, parse_duration, parse_profile, share


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("500ms", 0.5), ("2m", 120), ("1.5", 1.5), ("1h", 3600), ("20us", 2e-5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "10 minutes", "1e3"])
def test_bad_durations_say_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("500", (Piece(10, 500, 500),)),
        ("500@4s", (Piece(4, 500, 500),)),
        ("100@2s,100..1000@3s,1000", (Piece(2, 100, 100), Piece(3, 100, 1000), Piece(5, 1000, 1000))),
        ("0..50", (Piece(10, 0, 50),)),
    ],
)
def test_profiles(text: str, pieces: tuple[Piece, ...]) -> None:
    assert parse_profile(text, 10) == pieces


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("fast", "not a rate"),
        ("100,200", "has no time"),
        ("0", "sends nothing"),
        ("1@12s,2", "no time is left"),
        ("1.2.3", "not a rate"),
    ],
)
def test_bad_profiles_say_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_profile(text, 10)


def test_processes_share_a_profile() -> None:
    pieces = parse_profile("100..300@2s,300@8s", 10)
    assert sum(piece.requests for piece in share(pieces, 4)) * 4 == pytest.approx(sum(p.requests for p in pieces))
