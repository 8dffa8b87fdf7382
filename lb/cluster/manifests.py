"""Source: a folder of YAML and JSON manifests, watched.

Reads and watches only; what the text means is `documents.py`, what the files say together is `folder.py`.

Files are looked at one by one when the kernel names them. Whatever it does not name (a symlink swapped under a
Kubernetes ConfigMap volume, a lost event, a network file system) is found by comparing the files' signatures with those
last read: at once when anything that is no plain manifest changes, and every RESCAN_SECONDS.
"""

import asyncio
import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import watchfiles

from lb.cluster.documents import Check, Document, Placed, read_documents
from lb.cluster.folder import STATUS_FOLDER, FolderState
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore
from lb.cluster.validate import validate, validate_status

log = logging.getLogger(__name__)
logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it would report every event

SUFFIXES = (".yaml", ".yml", ".json")
NOT_OBJECTS = frozenset(("kustomization.yaml", "kustomization.yml"))
"""Files of other tools that live beside manifests and need no `kind`."""

FILE_BYTES_MAX = 256 * 1024 * 1024
BURST_MILLISECONDS = 20
"""Events that follow each other faster than this are one burst, read once. The watcher wakes so often: each 5 ms
took 0.6 per cent of a core with nothing to do."""
TICK_MILLISECONDS = 300
FRESH_SECONDS = 0.25
"""A file written less than this ago may be half written: what is missing from it is believed only later."""
RACY_SECONDS = 0.05
"""A file written so shortly before it was read may change again without its times showing it."""
RESCAN_SECONDS = 30.0
FILES_AT_ONCE = 50
"""Read in one go beside the loop, before their objects go into the store."""
POLL_SECONDS = 1.0
WATCH_AGAIN_POLLS = 60
"""Where the kernel refuses to watch: how often to look, and after how many looks to ask it again."""

Signature = tuple[int, int, int, int]
"""Device, inode, modification time in ns, size: what changes when a file is written to or replaced."""
_UNSURE: Signature = (0, 0, 0, 0)


class _Unreadable(NamedTuple):
    reason: str
    advice: str


class _Reading(NamedTuple):
    """A file as it was read: what it holds, why that cannot be read, or None if there is no such file."""

    content: list[Placed] | _Unreadable | None
    signature: Signature
    age_seconds: float
    """Since it was last written to, when it was read."""


class FolderUnreadable(Exception):
    """The folder is not there or may not be read; the text says what to do."""


class ManifestFolder:
    """Keeps a store equal to the manifests in a folder and its sub-folders.

    `synced` is set once all files have been read. `problems` holds what is wrong with them now, by file.
    """

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self.folder = folder
        self.synced = asyncio.Event()
        self.problems = Problems()
        prefix = f"{folder}/"
        self._state = FolderState(store, self.problems, prefix)
        self._signatures: dict[str, Signature] = {}
        self._recheck: set[str] = set()
        self._closed: dict[str, str] = {}

    def load(self) -> None:
        """Read everything now, without watching. Raises FolderUnreadable."""
        self.require()
        differences = self._differences()
        self._judge_folders()
        for path in sorted(differences):
            self._take(path, _read(self.folder / path, self._state.known(path), _check_of(path)))

    async def read_wanted(self) -> None:
        """All files are read, whoever wants them."""

    async def run(self) -> None:
        """Read everything, then follow changes until cancelled. Raises FolderUnreadable, at the start only."""
        self.require()
        await self._look(None)
        self.synced.set()
        log.info("%s: %d files read, %d problems", self.folder, len(self._signatures), len(self.problems))
        scanned = 0.0  # the first tick looks at everything: the watch began after the reading above
        async for paths in self._changes():
            now = time.monotonic()
            if paths is None or now - scanned > RESCAN_SECONDS:
                scanned = now
                await self._look(None)
            elif paths or self._recheck:
                await self._look(paths | self._recheck)

    # -- looking

    async def _look(self, paths: set[str] | None) -> None:
        """Read what has changed: among these paths, or anywhere."""
        if paths is None:
            self._recheck |= await asyncio.to_thread(self._differences)
            _log(self._judge_folders())
            paths = self._recheck
        ordered = sorted(paths)
        self._recheck.difference_update(ordered)
        for start in range(0, len(ordered), FILES_AT_ONCE):
            several = [(path, self._state.known(path)) for path in ordered[start : start + FILES_AT_ONCE]]
            # Reading is done beside the loop, so that a large file does not hold up what else runs in it.
            for path, reading in await asyncio.to_thread(_read_several, self.folder, several):
                _log(self._take(path, reading))

    def _take(self, path: str, reading: _Reading) -> Iterable[Problem]:
        """Bring a file that was read into the store; return what is newly wrong."""
        placed, signature, age = reading
        if placed is None:
            if not self.folder.is_dir():
                return ()  # it went with the whole folder: that is another matter
            self._signatures.pop(path, None)
            return self._state.forget(path)
        self._signatures[path] = signature if age > RACY_SECONDS else _UNSURE
        if isinstance(placed, _Unreadable):
            return self._state.complain(path, placed.reason, placed.advice)
        new, kept = self._state.take(path, placed, keep_missing=0 <= age < FRESH_SECONDS)
        if kept:
            self._recheck.add(path)
        return new

    def _differences(self) -> set[str]:
        """Paths that are new, gone or not as they were when last read."""
        if not self.folder.is_dir():  # taken away while we run: what was there stays until it is back
            return set()
        closed: dict[str, str] = {}
        there = dict(_walk(self.folder, "", set(), closed))
        self._closed = closed
        changed = {path for path, signature in there.items() if self._signatures.get(path) != signature}
        gone = self._signatures.keys() - there.keys()
        return changed | {path for path in gone if not path.startswith(tuple(closed))}

    def _judge_folders(self) -> Iterable[Problem]:
        reason, advice = "the folder cannot be read: {}; what was in it stays in use", "check its permissions"
        found = [Problem(f"{self.folder}/{path}", "", reason.format(why), advice) for path, why in self._closed.items()]
        return self.problems.replace("closed folders", found)

    def require(self) -> None:
        """Raises FolderUnreadable unless the folder is there and may be read."""
        try:
            with os.scandir(self.folder):
                return
        except FileNotFoundError:
            advice = "create it, or name another with -f"
        except NotADirectoryError:
            raise FolderUnreadable(f"{self.folder} is not a folder; name the folder that holds it") from None
        except OSError as error:
            raise FolderUnreadable(f"{self.folder} cannot be read: {error.strerror}; check its permissions") from None
        raise FolderUnreadable(f"{self.folder} does not exist; {advice}")

    # -- being told

    async def _changes(self) -> AsyncIterator[set[str] | None]:
        """Yield the paths of manifests that may have changed; None if anything may have; an empty set now and then."""
        while True:
            yield None
            watched = _identity(self.folder)
            try:
                async for paths in self._watch():
                    yield paths
                    if _identity(self.folder) != watched:
                        break
            except (OSError, RuntimeError) as error:
                if watched is not None and _identity(self.folder) == watched:
                    async for _ in self._look_without_watch(error):
                        yield None
            await self._wait_for_folder()

    async def _look_without_watch(self, error: Exception) -> AsyncIterator[None]:
        """For a while, be told nothing but look at everything: most often the limits of inotify are used up."""
        log.warning(
            "%s cannot be watched (%s) and is looked at every %g s instead; raise the sysctls "
            "fs.inotify.max_user_instances and fs.inotify.max_user_watches",
            *(self.folder, error, POLL_SECONDS),
        )
        for _ in range(WATCH_AGAIN_POLLS):
            await asyncio.sleep(POLL_SECONDS)
            if not self.folder.is_dir():
                return
            yield None

    async def _watch(self) -> AsyncIterator[set[str] | None]:
        root = str(self.folder.resolve())
        first = True
        async for changes in watchfiles.awatch(
            root,
            watch_filter=None,
            debounce=3 * BURST_MILLISECONDS,
            step=BURST_MILLISECONDS,
            rust_timeout=TICK_MILLISECONDS,
            yield_on_timeout=True,
        ):
            yield None if first else self._named(root, (path for _, path in changes))
            first = False

    def _named(self, root: str, changed: Iterable[str]) -> set[str] | None:
        """The manifests among changed paths; None if something else may mean that any has changed."""
        paths = set()
        for full in changed:
            path = os.path.relpath(full, root)
            if _is_manifest(path) and not os.path.islink(full) and not os.path.isdir(full):
                paths.add(path)
            elif os.path.islink(full) or os.path.isdir(full) or not os.path.splitext(path)[1]:
                # A folder, a link, or something that is gone and may have been one.
                return None
        return paths

    async def _wait_for_folder(self) -> None:
        origin = "folder"
        if not self.folder.is_dir():
            reason = "the folder is gone; what was in it stays in use"
            _log(self.problems.replace(origin, [Problem(str(self.folder), "", reason, "put it back")]))
            while not self.folder.is_dir():  # noqa: ASYNC110  (nobody tells when a folder appears)
                await asyncio.sleep(TICK_MILLISECONDS / 1000)
        self.problems.replace(origin, ())


# --- files -------------------------------------------------------------------------------------------------------


def _is_manifest(path: str) -> bool:
    """True for what is read: hidden files and folders, editors' backups and swap files are not."""
    *folders, name = path.split("/")
    if folders[:1] == [STATUS_FOLDER]:
        folders = folders[1:]
    if any(each.startswith(".") for each in (*folders, name)):
        return False
    return name.endswith(SUFFIXES) and not name.startswith("#") and name not in NOT_OBJECTS


def _walk(
    root: Path, below: str, seen: set[tuple[int, int]], closed: dict[str, str]
) -> Iterable[tuple[str, Signature]]:
    """Yield (path, signature) of all manifests. Links are followed, except into folders we are in already (`seen`).

    closed: gets the sub-folders that cannot be read, and why.
    """
    try:
        entries = list(os.scandir(root / below))
    except OSError as error:
        closed[below] = error.strerror or str(error)
        return
    for entry in entries:
        path = f"{below}{entry.name}"
        try:
            found = entry.stat()
        except OSError:  # gone meanwhile, or a link to nothing
            continue
        if stat.S_ISDIR(found.st_mode):
            hidden = entry.name.startswith(".") and path != STATUS_FOLDER
            if not hidden and (found.st_dev, found.st_ino) not in seen:
                yield from _walk(root, f"{path}/", seen | {(found.st_dev, found.st_ino)}, closed)
        elif stat.S_ISREG(found.st_mode) and _is_manifest(path):
            yield path, _signature(found)


def _signature(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _read_several(folder: Path, paths: Iterable[tuple[str, Mapping[str, Document]]]) -> list[tuple[str, _Reading]]:
    return [(path, _read(folder / path, known, _check_of(path))) for path, known in paths]


def _read(full: Path, known: Mapping[str, Document], check: Check) -> _Reading:
    try:
        with full.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return _Reading(None, _UNSURE, 0.0)
            age = time.time() - found.st_mtime
            data = file.read(FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return _Reading(None, _UNSURE, 0.0)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        return _Reading(_Unreadable(reason, "check its permissions"), _signature_or_unsure(full), RACY_SECONDS + 1)
    return _Reading(_content(full, data, known, check), _signature(found), age)


def _content(full: Path, data: bytes, known: Mapping[str, Document], check: Check) -> list[Placed] | _Unreadable:
    if len(data) > FILE_BYTES_MAX:
        return _Unreadable(f"is larger than {FILE_BYTES_MAX} bytes", "split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _Unreadable(f"is not UTF-8 text: byte {error.start}", "save it as UTF-8")
    if full.suffix == ".json":
        # JSON may be indented by tabs, which YAML forbids; inside its strings there are none.
        text = text.replace("\t", " ")
    return read_documents(text, known, check)


def _check_of(path: str) -> Check:
    return validate_status if path.startswith(STATUS_FOLDER + "/") else validate


def _signature_or_unsure(full: Path) -> Signature:
    try:
        return _signature(full.stat())
    except OSError:
        return _UNSURE


def _log(new: Iterable[Problem]) -> None:
    for problem in new:
        log.warning("%s", problem)
