"""Octets that reach code which others do not: one in each line of seeds/TARGET.txt, in base64."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "seeds"


def seeds(target: str) -> list[bytes]:
    file = FOLDER / f"{target}.txt"
    return [b64decode(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def write_seeds(target: str, found: Iterable[bytes]) -> None:
    FOLDER.mkdir(exist_ok=True)
    lines = sorted(b64encode(octets).decode() + "\n" for octets in found)
    (FOLDER / f"{target}.txt").write_text("".join(lines))
