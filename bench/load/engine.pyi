from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from typing import Any

ERROR_KINDS: tuple[str, ...]
HISTOGRAM_HIGHEST_US: int

def value_at(index: int) -> int: ...
def pack_address(family: int, address: tuple[Any, ...]) -> bytes: ...

class Engine:
    def __init__(
        self,
        loop: AbstractEventLoop,
        address: bytes,
        requests: Sequence[tuple[bytes, int, bool, int]],
        *,
        connections: int,
        keep_alive: bool,
        timeout_seconds: float,
        think_seconds: float,
        seed: int,
        tls_name: str | None = ...,
        tls_verify: str | bool | None = ...,
        on_answer: Callable[[int, int, bytes], bool] | None = ...,
        keep_bytes: int = ...,
        upgrade: bytes | None = ...,
    ) -> None: ...
    def start(
        self,
        duration_seconds: float,
        pieces: Sequence[tuple[float, float, float]],
        poisson: bool,
        recording: Sequence[tuple[float, int]] = ...,
    ) -> None: ...
    def finished(self) -> bool: ...
    def stop(self) -> None: ...
    def snapshot(self) -> dict[str, Any]: ...
