"""Which endpoint a request goes to: by turns, by weight, by load, by latency, by hash; and how little moves."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest

from ingress.proxy import BackendSpec, Engine, Settings
from tests.ingress.proxy.rig import Request, Rig, echo, read_response, request, rig, until

SEEDED = Settings(seed=20261121, eject_after_failures=0)
KEYS = [b"key-%d" % i for i in range(20000)]
POD = [f"10.0.{i // 250}.{i % 250 + 1}" for i in range(1000)]


@pytest.fixture
async def engine() -> "Iterator[Engine]":  # type: ignore[misc]
    made = Engine(SEEDED, asyncio.get_running_loop())
    yield made
    made.close()


def pods(n: int, *, but: int = -1) -> list[tuple[str, int]]:
    return [(POD[i], 8080) for i in range(n) if i != but]


def spread(engine: Engine, n: int) -> Counter[str | None]:
    return Counter(engine.choose("b") for _ in range(n))


def owners(engine: Engine) -> list[str | None]:
    return [engine.choose("b", key) for key in KEYS]


def moved(before: list[str | None], after: list[str | None]) -> float:
    return sum(a != b for a, b in zip(before, after, strict=True)) / len(before)


async def test_plain_turns_are_exact_and_begin_anywhere(engine: Engine) -> None:
    engine.set_backend("b", pods(3))
    assert set(spread(engine, 600).values()) == {200}
    firsts = set()
    for i in range(40):
        engine.set_backend(f"other-{i}", pods(3))
        firsts.add(engine.choose(f"other-{i}"))
    assert len(firsts) == 3


async def test_turns_by_weight_are_even_all_the_time(engine: Engine) -> None:
    engine.set_backend("b", [(POD[0], 80, 5), (POD[1], 80, 3), (POD[2], 80, 1), (POD[3], 80, 0)])
    for _ in range(20):  # in every stretch of 90, not only in the long run
        got = spread(engine, 90)
        assert abs(got[f"{POD[0]}:80"] - 50) <= 3
        assert abs(got[f"{POD[1]}:80"] - 30) <= 3
        assert abs(got[f"{POD[2]}:80"] - 10) <= 3
        assert f"{POD[3]}:80" not in got


@pytest.mark.parametrize("algorithm", ["least_requests", "ewma"])
async def test_draws_by_weight(engine: Engine, algorithm: str) -> None:
    """With nothing under way and nothing known, the first of the two drawn has it."""
    engine.set_backend("b", [(POD[i], 80, 1 + i) for i in range(4)], BackendSpec(algorithm=algorithm))
    got = spread(engine, 20000)
    for i in range(4):
        assert got[f"{POD[i]}:80"] / 20000 == pytest.approx((1 + i) / 10, abs=0.012)


@pytest.mark.parametrize(("algorithm", "tolerance"), [("ring", 0.30), ("maglev", 0.09)])
async def test_a_hash_spreads_keys_by_weight(engine: Engine, algorithm: str, tolerance: float) -> None:
    spec = BackendSpec(algorithm=algorithm, hash_by="uri")
    weights = [1, 1, 2, 4, 1, 1, 2, 4]
    engine.set_backend("b", [(POD[i], 80, weight) for i, weight in enumerate(weights)], spec)
    got = Counter(owners(engine))
    for i, weight in enumerate(weights):
        assert got[f"{POD[i]}:80"] == pytest.approx(len(KEYS) * weight / sum(weights), rel=tolerance)


@pytest.mark.parametrize(("algorithm", "surplus"), [("ring", 0.0), ("maglev", 0.05)])
@pytest.mark.parametrize("n", [4, 40])
async def test_few_keys_move_when_endpoints_come_and_go(engine: Engine, algorithm: str, surplus: float, n: int) -> None:
    spec = BackendSpec(algorithm=algorithm, hash_by="uri")
    engine.set_backend("b", pods(n), spec)
    before = owners(engine)
    engine.set_backend("b", reversed(pods(n)), spec)
    assert owners(engine) == before  # the order in which they are listed says nothing
    engine.set_backend("b", pods(n, but=2), spec)
    gone = owners(engine)
    lost = sum(1 for owner in before if owner == f"{POD[2]}:8080") / len(before)
    assert lost <= moved(before, gone) <= lost + surplus
    assert f"{POD[2]}:8080" not in gone
    engine.set_backend("b", pods(n + 1), spec)
    came = owners(engine)
    won = sum(1 for owner in came if owner == f"{POD[n]}:8080") / len(before)
    assert won <= moved(before, came) <= won + surplus


async def test_every_engine_hashes_alike(engine: Engine) -> None:
    other = Engine(Settings(), asyncio.get_running_loop())
    for algorithm in ("ring", "maglev"):
        spec = BackendSpec(algorithm=algorithm, hash_by="uri")
        for one in (engine, other):
            one.set_backend("b", pods(20), spec)
        assert owners(engine) == owners(other)
    other.close()


async def test_large_sets(engine: Engine) -> None:
    for algorithm in ("round_robin", "least_requests", "ewma", "ring", "maglev"):
        spec = BackendSpec(algorithm=algorithm, hash_by="client", slow_start_seconds=1)
        engine.set_backend("b", [(POD[i], 80, 1 + i % 3) for i in range(1000)], spec)
        assert len(Counter(engine.choose("b", key) for key in KEYS)) > 990
        engine.set_backend("b", pods(1), spec)
        assert engine.choose("b", b"key") == f"{POD[0]}:8080"
        engine.set_backend("b", [], spec)
        assert engine.choose("b", b"key") is None


async def test_slow_start(engine: Engine) -> None:
    spec = BackendSpec(slow_start_seconds=3.0)
    engine.set_backend("b", pods(2), spec)
    assert min(spread(engine, 400).values()) >= 190  # the first ones are not new
    engine.set_backend("b", pods(3), spec)
    new = f"{POD[2]}:8080"
    assert spread(engine, 3000)[new] < 250
    await until(lambda: spread(engine, 3000)[new] >= 450)  # its share grows
    assert spread(engine, 3000)[new] < 950
    await until(lambda: spread(engine, 3000)[new] >= 980)
    engine.set_backend("b", pods(4, but=0), spec)  # who stays is not new again
    got = spread(engine, 4000)
    assert got[new] > 1500
    assert got[f"{POD[3]}:8080"] < 350


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (BackendSpec(algorithm="best"), "algorithm: 'best'"),
        (BackendSpec(algorithm="ring"), "hash_by"),
        (BackendSpec(algorithm="ring", hash_by="header:"), "hash_by"),
        (BackendSpec(retry_on=("error", "off")), "retry_on"),
        (BackendSpec(retry_on=("http_418",)), "retry_on"),
    ],
)
async def test_a_wrong_spec_changes_nothing(engine: Engine, spec: BackendSpec, said: str) -> None:
    engine.set_backend("b", pods(1))
    with pytest.raises(ValueError, match=said):
        engine.set_backend("b", pods(2, but=0), spec)
    with pytest.raises(ValueError, match="weight"):
        engine.set_backend("b", [(POD[1], 80, 65536)])
    assert engine.choose("b") == f"{POD[0]}:8080"


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match="load_bound"):
        BackendSpec(load_bound=0.5)
    with pytest.raises(ValueError, match="attempts"):
        BackendSpec(attempts=0)
    with pytest.raises(ValueError, match="connect_seconds"):
        BackendSpec(connect_seconds=-1)
    with pytest.raises(ValueError, match="eject_share"):
        Settings(eject_share=1.5)


# -- over sockets


def use(r: Rig, spec: BackendSpec) -> None:
    r.engine.set_backend("backend", [endpoint.address for endpoint in r.endpoints], spec)


class Slow:
    """Echoes after a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def __call__(self, got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.seconds)
        await echo(got, reader, writer)


async def load(r: Rig, clients: int, each: int) -> None:
    async def client() -> None:
        reader, writer = await r.connect()
        for _ in range(each):
            writer.write(request("/"))
            assert (await read_response(reader))[0].startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))


async def test_ewma_leaves_the_slow_one_alone() -> None:
    async with rig(echo, echo, Slow(0.1), settings=SEEDED) as r:
        use(r, BackendSpec(algorithm="ewma"))
        await load(r, 4, 150)
        asked = [len(endpoint.requests) for endpoint in r.endpoints]
        assert asked[2] < 30  # by turns it would have had 200
        assert min(asked[:2]) > 200


async def test_ewma_does_not_take_a_quick_failure_for_a_quick_answer() -> None:
    async def broken(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with rig(echo, echo, broken, settings=SEEDED) as r:
        use(r, BackendSpec(algorithm="ewma"))
        await load(r, 4, 150)
        assert len(r.endpoints[2].requests) < 30


async def test_least_requests_spares_who_is_busy() -> None:
    go = asyncio.Event()

    async def busy(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await echo(got, reader, writer)

    async with rig(busy, echo, echo, echo, settings=SEEDED) as r:
        use(r, BackendSpec(algorithm="least_requests"))
        stuck = asyncio.create_task(load(r, 12, 20))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stuck), 0.5)
        # Whoever meets it waits there; once it has a few, no pair of draws falls on it while the other is idle.
        assert len(r.endpoints[0].requests) <= 12
        go.set()
        await stuck


@pytest.mark.parametrize("algorithm", ["ring", "maglev"])
@pytest.mark.parametrize(
    ("hash_by", "same", "others"),
    [
        ("client", [request(f"/{i}") for i in range(20)], []),
        ("uri", [request("/a?b=c")] * 20, [request(f"/a?b={i}") for i in range(40)]),
        ("header:X-User", [request("/", "x-user: ann")] * 20, [request("/", f"X-User: {i}") for i in range(40)]),
        (
            "cookie:sid",
            [request("/", "Cookie: a=b; sid=ann; c=d")] * 10 + [request("/", "Cookie: xsid=1;sid=ann")] * 10,
            [request("/", f"Cookie: sid={i}") for i in range(40)],
        ),
        ("cookie:sid", [], [request("/")] * 60),  # no such cookie: anywhere
    ],
)
async def test_requests_with_one_key_meet_one_endpoint(
    algorithm: str, hash_by: str, same: list[bytes], others: list[bytes]
) -> None:
    async with rig(*[echo] * 5, settings=SEEDED) as r:
        use(r, BackendSpec(algorithm=algorithm, hash_by=hash_by))
        reader, writer = await r.connect()

        async def asked(requests: list[bytes]) -> list[int]:
            before = [len(endpoint.requests) for endpoint in r.endpoints]
            for octets in requests:
                writer.write(octets)
                await read_response(reader)
            return [len(endpoint.requests) - had for endpoint, had in zip(r.endpoints, before, strict=True)]

        if same:
            assert sorted(await asked(same)) == [0, 0, 0, 0, 20]
        if others:
            assert sum(1 for n in await asked(others) if n) >= 4
        writer.close()


@pytest.mark.parametrize("algorithm", ["ring", "maglev"])
@pytest.mark.parametrize("bound", [0.0, 1.25, 2.0])
async def test_a_popular_key_is_bounded(algorithm: str, bound: float) -> None:
    go = asyncio.Event()

    async def wait(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await echo(got, reader, writer)

    async with rig(*[wait] * 4, settings=SEEDED) as r:
        use(r, BackendSpec(algorithm=algorithm, hash_by="uri", load_bound=bound))
        asked = [asyncio.create_task(r.get("/popular")) for _ in range(40)]
        await until(lambda: sum(len(endpoint.requests) for endpoint in r.endpoints) == 40)
        most = max(len(endpoint.requests) for endpoint in r.endpoints)
        assert most == 40 if bound == 0 else most <= bound * 10 + 1
        go.set()
        await asyncio.gather(*asked)


async def test_a_key_comes_back_to_its_endpoint() -> None:
    """Its endpoint refuses: the next one of the ring answers, always the same."""
    async with rig(*[echo] * 5, settings=SEEDED) as r:
        use(r, BackendSpec(algorithm="ring", hash_by="uri"))
        await r.get("/a")
        home = next(endpoint for endpoint in r.endpoints if endpoint.requests)
        assert home.server is not None
        home.server.close()
        for writer in home.writers:
            writer.close()
        for _ in range(10):
            assert (await r.get("/a")).startswith(b"HTTP/1.1 200")
        assert sorted(len(endpoint.requests) for endpoint in r.endpoints) == [0, 0, 0, 1, 10]
        await home.start(port=home.address[1])
        await r.get("/a")
        assert len(home.requests) == 2
