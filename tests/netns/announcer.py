"""One node's announcer over a folder of manifests, as a process of its own: FOLDER NODE STATE_FILE."""

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from lb.balancer.announce import Announcer
from lb.cluster.manifests import ManifestFolder
from lb.cluster.store import ObjectStore


async def main(folder: str, node: str, state_file: str) -> None:
    store = ObjectStore()
    source = ManifestFolder(Path(folder), store)
    announcer = Announcer(store, node, synced=source.synced, state_file=Path(state_file))
    tasks = asyncio.gather(source.run(), announcer.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, tasks.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await tasks


logging.basicConfig(level="INFO", format="%(asctime)s %(message)s")
asyncio.run(main(*sys.argv[1:]))
