"""Frames between supervisor and worker, whole and cut at every byte."""

import asyncio

import pytest

from ingress import wire
from ingress.proxy.counted import Counted, Durations, EndpointSeen, Histograms
from ingress.routes.model import Backend, Changes, HostTable, Route, Variant

MESSAGES: list[wire.Message] = [
    wire.Start((wire.ListenerLine(7, True, 443),), {"attempts": 2}),
    wire.Update(
        3,
        {"a/b:80": (("10.0.0.1", 80),), "a/c:80": None},
        {
            "": wire.HostLines(
                (
                    wire.RouteLine("/", False, "a/b:80", 1, ("a", "i", "b", "80", "/")),
                    wire.RouteLine("/x", True, "a/b:80", 2, filters=(("closed", b"\x81"),), options={"compress": True}),
                ),
                {"ca_pem": b"y"},
                "a/b:80",
            ),
            "x": None,
        },
        specs={"a/b:80": {"algorithm": "ewma", "transport": {"tls": {"ca_pem": b"x"}}}},
    ),
    wire.Configure({"tls_protocols": ["TLSv1.3"]}, {"algorithm": "ewma"}, True),
    wire.Update(4, certificates={"x": (b"chain", b"key"), "y": None}),
    wire.TicketKeys((b"one", b"two")),
    wire.Drain(),
    wire.AskStats(9),
    wire.AskEndpoints(10),
]


@pytest.mark.parametrize("step", [1, 3, 10_000], ids="cut={}".format)
async def test_messages_come_out_as_they_went_in(step: int) -> None:
    reader = asyncio.StreamReader()
    octets = b"".join(map(wire.encode, MESSAGES))

    async def feed() -> None:
        for start in range(0, len(octets), step):
            reader.feed_data(octets[start : start + step])
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    assert [await wire.receive_downward(reader) for _ in MESSAGES] == MESSAGES
    with pytest.raises(asyncio.IncompleteReadError):
        await wire.receive_downward(reader)
    await feeding


ROW = Counted(7, 200, "GET", "", 3, 400, 5 << 40, Durations(0.5, 0.25, 0.0, 0.0), Histograms(*[(1, 2)] * 7))

SEEN = wire.SeenEndpoints(3, (EndpointSeen("[::1]:80", 4, 1, 2, 1, True),), True)


async def test_upward() -> None:
    reader = asyncio.StreamReader()
    sent = [
        wire.Applied(2, (wire.Refused("hosts", "x", "why"),)),
        wire.CountedRequests((ROW, ROW)),
        SEEN,
        wire.Drained(),
    ]
    reader.feed_data(b"".join(map(wire.encode, sent)))
    assert [await wire.receive_upward(reader) for _ in sent] == sent


def test_changes_as_workers_take_them() -> None:
    route = Route(5, "a.example", "/x", True, "shop/web:80", "shop/web", "spec.rules[0].http.paths[0]")
    variant = Variant("#1", {"algorithm": "ewma"})
    backend = Backend("shop", "web", "80", (("10.0.0.1", 80),), 2, variant=variant)
    changes = Changes(
        hosts={"a.example": HostTable("a.example", (route,)), "gone": None},
        backends={"shop/web:80": backend, "shop/gone:80": None},
    )
    assert wire.update_of(7, changes) == wire.Update(
        7,
        {"shop/web:80": (("10.0.0.1", 80),), "shop/gone:80": None},
        {
            "a.example": wire.HostLines(
                (wire.RouteLine("/x", True, "shop/web:80", 5, ("shop", "web", "web", "80", "/x")),)
            ),
            "gone": None,
        },
        specs={"shop/web:80": {"algorithm": "ewma"}},
    )
