"""The data plane built once more, with AddressSanitizer and UndefinedBehaviorSanitizer, and tests run over that build.

    python -m tests.sanitized tests/ingress -q -x      # what follows goes to pytest

The build lies in build/sanitized: this tree by symbolic links, the compiled engine excepted. Worker processes load it,
too. An error that a sanitizer finds ends its process, so the test that led there fails.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

TOP = Path(__file__).parent.parent
TREE = TOP / "build" / "sanitized"
ENGINE = Path("ingress/proxy")
LIBRARIES = ("ssl", "crypto", "m", "z", "brotlienc", "zstd")
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-sanitize=alignment,nonnull-attribute",
)
"""Unaligned loads are what the wide scans of heads are made of, on a processor that has them; and memcpy(p, NULL, 0),
which copies nothing from nowhere, is taken by every C library."""


def plant(tree: Path) -> None:
    """Links to everything of this tree, in folders of its own down to the engine's."""
    shutil.rmtree(tree, ignore_errors=True)
    for folder in (Path("."), ENGINE.parent, ENGINE):
        (tree / folder).mkdir(parents=True, exist_ok=True)
        for entry in (TOP / folder).iterdir():
            if entry.name.startswith((".", "build", "__pycache__")) or entry.suffix in (".so", ".c"):
                continue
            if folder / entry.name in (ENGINE.parent, ENGINE):
                continue
            (tree / folder / entry.name).symlink_to(entry)


def compile_engine(tree: Path, compiler: tuple[str, ...], flags: tuple[str, ...]) -> None:
    """From the C that `make venv` has left beside the sources."""
    source = TOP / ENGINE / "engine.c"
    target = tree / ENGINE / f"engine{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    common = ("-shared", "-fPIC", "-O1", "-g1", "-fno-omit-frame-pointer", f"-I{include}")
    libraries = (f"-l{name}" for name in LIBRARIES)
    subprocess.run([*compiler, *common, *flags, str(source), "-o", str(target), *libraries], check=True)


def environment(tree: Path) -> dict[str, str]:
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return {
        **os.environ,
        "LD_PRELOAD": runtime.stdout.strip(),
        "PYTHONPATH": str(tree),
        "PYTHONMALLOC": "malloc",  # so that Python's own blocks have their red zones
        # Python keeps what it has until its end: leaks are looked for by counting, in tests of their own.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "CAUSEWAY_SANITIZED": "1",
    }


def main(arguments: list[str]) -> int:
    plant(TREE)
    compile_engine(TREE, ("gcc",), SANITIZERS)
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-s",
        *arguments,
    ]  # -s: a sanitizer tells on stderr, then ends
    return subprocess.run(tests, cwd=TREE, env=environment(TREE), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
