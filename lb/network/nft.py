"""nftables by text: one transaction, or an error that shows what nft said."""

import asyncio

from lb.nftables.expressions import IPV4, IPV6
from lb.nftables.netfilter import NetfilterSocket


class NftFailed(Exception):
    """nft could not be run, or refused the text; nothing was changed."""


async def load(text: str) -> None:
    """Load a ruleset in one transaction, in the agent's own namespace. Raises NftFailed."""
    if not text:
        return
    try:
        process = await asyncio.create_subprocess_exec(
            "nft", "-f", "-",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    except FileNotFoundError:
        raise NftFailed("the program nft is missing: apt-get install nftables") from None
    said, _ = await process.communicate(text.encode())
    if process.returncode != 0:
        raise NftFailed(f"nft failed: {said.decode(errors='replace').strip()}")


def chains_of(version: int, table: str) -> set[str] | None:
    """The names of a table's chains; None if there is no such table.

    Asked of the kernel, not of the program: nft 1.0.6 crashes in a namespace where a newer one made verdict maps.
    """
    family = IPV4 if version == 4 else IPV6
    kernel = NetfilterSocket()
    try:
        return None if kernel.table(family, table) is None else kernel.chains(family, table)
    finally:
        kernel.close()
