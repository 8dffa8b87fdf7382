"""Coverage-guided fuzzing: libFuzzer, by way of atheris, over a build with AddressSanitizer.

    python -m tests.fuzz --seconds 600              # every target, one after the other
    python -m tests.fuzz request_head --seconds 60

Needs clang (Debian: clang, libclang-rt-14-dev); atheris is installed from PyPI into build/fuzz. What breaks something
is left in build/fuzz/TARGET-crash-*: add it to the seeds. With `--keep` the seeds become the smallest set that reaches
all the code that was reached.
"""

import argparse
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.seeds import seeds, write_seeds
from tests.fuzz.targets import TARGETS
from tests.ingress.proxy.corpus import corpus
from tests.sanitized import TOP, compile_engine, plant

FUZZ = TOP / "build" / "fuzz"
FLAGS = (
    "-fsanitize=fuzzer-no-link,address,undefined",
    "-fno-sanitize=alignment,nonnull-attribute,pointer-overflow",  # Cython's own code adds 0 to NULL
    "-fno-sanitize-recover=undefined",
    "-Wno-everything",
)
LONGEST_OCTETS = 4096


def prepare() -> Path:
    """The interpreter of an environment with atheris; the sanitized build lies beside it."""
    python = FUZZ / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(FUZZ / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "atheris"], check=True)
    if shutil.which("clang") is None:
        sys.exit("no clang here: apt-get install clang libclang-rt-14-dev")
    plant(FUZZ / "tree")
    compile_engine(FUZZ / "tree", ("clang",), FLAGS)
    return python


def run(python: Path, target: str, *arguments: str) -> int:
    """libFuzzer's exit code; its corpus is in build/fuzz."""
    site = subprocess.run(
        [python, "-c", "import atheris; print(atheris.path())"], capture_output=True, text=True, check=True
    )
    again = FUZZ / f"{target}.sh"
    again.write_text(f'#!/bin/sh\nexec {python} -m tests.fuzz.loop {target} "$@"\n')
    again.chmod(0o755)
    environment = {
        **os.environ,
        "LD_PRELOAD": f"{site.stdout.strip()}/asan_with_fuzzer.so",
        "PYTHONPATH": f"{FUZZ / 'tree'}:{sysconfig.get_path('purelib')}",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "FUZZ_PROGRAM": str(again),  # libFuzzer starts itself again to merge
    }
    command = [str(again), f"-max_len={LONGEST_OCTETS}", *arguments]
    return subprocess.run(command, cwd=FUZZ / "tree", env=environment, check=False).returncode


def hellos() -> list[bytes]:
    """What OpenSSL says first, with a name and without."""
    found = []
    for name in ("shop.example.com", None):
        out = ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
        found.append(out.read())
    return found


EXAMPLES: dict[str, Callable[[], list[bytes]]] = {
    "request_head": lambda: list(corpus().values()),
    "client_hello": hellos,
    "proxy_header": lambda: [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x27" + bytes(36) + b"\3\0\0",
    ],
}


def fill(folder: Path, target: str) -> None:
    """What is known already: the seeds, and for requests the corpus of the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    known = seeds(target) + EXAMPLES.get(target, list)()
    for number, octets in enumerate(known):
        (folder / f"known-{number}").write_bytes(octets)


def keep(python: Path, target: str) -> None:
    least = FUZZ / f"{target}-least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    if run(python, target, "-merge=1", str(least), str(FUZZ / target)) == 0:
        write_seeds(target, [each.read_bytes() for each in least.iterdir()])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="*", choices=[[], *TARGETS], help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="in all")
    parser.add_argument("--keep", action="store_true", help="make what was found the seeds")
    asked = parser.parse_args()
    targets = asked.target or list(TARGETS)
    python = prepare()
    worst = 0
    for target in targets:
        fill(FUZZ / target, target)
        seconds = max(1, asked.seconds // len(targets))
        code = run(
            python, target, f"-max_total_time={seconds}", f"-artifact_prefix={FUZZ}/{target}-", str(FUZZ / target)
        )
        worst = max(worst, code)
        if asked.keep and code == 0:
            keep(python, target)
    return worst


if __name__ == "__main__":
    sys.exit(main())
