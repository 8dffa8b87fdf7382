"""Forgetting UDP flows: they stay with the pod they once met as long as packets come, also when it is gone."""

import asyncio
import logging

log = logging.getLogger(__name__)


async def forget_udp(port: int) -> None:
    """Delete the node's connection tracking entries of UDP towards a port of its own."""
    argv = ("conntrack", "-D", "-p", "udp", "--orig-port-dst", str(port))
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        log.warning(
            "the program conntrack is missing (apt-get install conntrack): UDP flows to port %d may linger", port
        )
        return
    _, said = await process.communicate()
    # It exits 1 when there was nothing to delete.
    if process.returncode != 0 and b"0 flow entries" not in said:
        log.warning("%s failed: %s", " ".join(argv), said.decode(errors="replace").strip())
