"""The two ends of the conformance rows, programs of their own: `test_conformance.py` runs them in network namespaces.

python -m tests.e2e.conformance serve ADDRESS NAME...   endpoints that tell their names; prints {NAME: PORT} and stays
python -m tests.e2e.conformance ask ADDRESS PORT        reads [[HOST, PATH], ...] and prints [[STATUS, NAME], ...]
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.ingress.peers import Client, endpoints


async def serve(address: str, *names: str) -> None:
    async with endpoints(*names, address=address) as there:
        print(json.dumps({each.name: each.port for each in there}), flush=True)
        await asyncio.Event().wait()


async def ask(address: str, port: str) -> None:
    client = await Client.connect(int(port), address=address)
    found = []
    for host, path in json.load(sys.stdin):
        answer = await client.ask(host, path)
        found.append([answer.status, answer.service if answer.status == 200 else ""])
    client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]))
