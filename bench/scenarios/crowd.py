"""A large cluster's objects, and their changes: `python -m bench.scenarios.crowd URL COUNT` makes them until killed.

Each line it prints is how many changes it has made, and in how many seconds.
"""

import asyncio
import sys
import time
from itertools import count as counting

import aiohttp

from bench.scenarios import documents
from bench.scenarios.apiserver import TOKEN, Api

CLASS = "nginx"
PER_SERVICE = 10
PER_SECOND = 200
INGRESS_EVERY = 10
"""Of so many changes one is of an Ingress, the others are of endpoints."""
UNDER_WAY = 16


def service(number: int) -> documents.Document:
    found = documents.service(f"s{number}")
    del found["spec"]["clusterIP"]
    return found


def endpoints(number: int, port: int, addresses: list[str] | None = None) -> documents.Document:
    """The first Service's are there; those of the others are only names."""
    some = addresses or [f"10.{100 + number // 65536}.{number // 256 % 256}.{each}" for each in range(PER_SERVICE)]
    return documents.endpoints(f"s{number}", port, addresses=some)


def ingress(name: str, host: str, service_name: str = "s0", path: str = "/") -> documents.Document:
    found = documents.ingress(name, [host], service_name, paths=[path])
    found["spec"]["ingressClassName"] = CLASS
    return found


def numbered_ingress(number: int, path: str = "/") -> documents.Document:
    return ingress(f"i{number}", f"h{number}.example.com", f"s{number}", path)


async def fill(api: Api, count: int, first: documents.Document) -> None:
    """`count` of each kind; `first`: the first EndpointSlice."""
    await api.send("POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}})
    await api.create([{
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": CLASS},
        "spec": {"controller": "k8s.io/ingress-nginx"},
    }])  # fmt: skip
    await api.create(map(service, range(count)))
    await api.create([first, *(endpoints(each, 8080) for each in range(1, count))])
    await api.create(map(numbered_ingress, range(count)))


async def change_for_ever(api: Api, count: int) -> None:
    """All but the first of each kind, one after the other, at most PER_SECOND."""
    slots, clock = asyncio.Semaphore(UNDER_WAY), time.perf_counter
    began, tasks = clock(), set[asyncio.Task[None]]()
    first = int(time.time())  # nothing may be as a run before this one has left it

    async def put(number: int) -> None:
        which, turn = 1 + number % (count - 1), first + number // (count - 1)
        if number % INGRESS_EVERY:
            await api.put(endpoints(which, 10_000 + turn % 50_000))
        else:
            await api.put(numbered_ingress(which, f"/{turn}"))
        slots.release()

    for made in counting(1):
        await slots.acquire()
        tasks = {each for each in tasks if not each.done()} | {asyncio.create_task(put(made))}
        await asyncio.sleep(max(0.0, began + made / PER_SECOND - clock()))
        if not made % PER_SECOND:
            print(made, clock() - began, flush=True)


async def _main(url: str, count: int) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        await change_for_ever(Api(url, session), count)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
