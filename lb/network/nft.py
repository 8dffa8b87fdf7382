"""Running nft: text in, one transaction, or an error that shows what nft said."""

import asyncio


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


async def has_table(family: str, name: str) -> bool:
    """Whether a table exists; only its name is read, so rules of a newer nft do no harm."""
    process = await asyncio.create_subprocess_exec(
        "nft", "list", "tables", family, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return f"table {family} {name}" in said.decode(errors="replace").splitlines()
