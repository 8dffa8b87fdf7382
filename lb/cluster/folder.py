"""What the files of a manifest folder say together: who defines an object, what stays when a document turns bad. Pure.

Two layers: the manifests, and over them the statuses that our own parts write (`.status/`). A layer remembers for every
file the objects it gives; the store holds, per key, what the first file (by path) gives, with the status laid over it.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from lb.cluster.documents import Document, Found, Placed
from lb.cluster.objects import Key, Object
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore

STATUS_FOLDER = ".status"


@dataclass(slots=True)
class _Layer:
    """Objects by file, and for every key the files that give it, in order."""

    files: dict[str, dict[Key, Object]] = field(default_factory=dict)
    claims: dict[Key, list[str]] = field(default_factory=dict)

    def replace(self, path: str, now: dict[Key, Object]) -> list[Key]:
        """Make `now` what the file gives; return the keys for which that is a change."""
        before = self.files.pop(path, {})
        if now:
            self.files[path] = now
        changed = [key for key, found in now.items() if before.get(key) is not found]
        for key in now.keys() - before.keys():
            insort(self.claims.setdefault(key, []), path)
        for key in before.keys() - now.keys():
            changed.append(key)
            self.claims[key].remove(path)
            if not self.claims[key]:
                del self.claims[key]
        return changed

    def winner(self, key: Key) -> Object | None:
        paths = self.claims.get(key)
        return self.files[paths[0]][key] if paths else None


class FolderState:
    """The folder's share of a store.

    Paths are relative to the folder, with `/`; `prefix` is put before them in Problems.
    """

    def __init__(self, store: ObjectStore, problems: Problems, prefix: str = "") -> None:
        self._store = store
        self._problems = problems
        self._prefix = prefix
        self._manifests = _Layer()
        self._statuses = _Layer()
        self._known: dict[str, dict[str, Document]] = {}
        self._lines: dict[str, dict[Key, int]] = {}

    def known(self, path: str) -> Mapping[str, Document]:
        """The documents of a file by their text, as last read."""
        return self._known.get(path, {})

    @property
    def paths(self) -> list[str]:
        return list(self._lines)

    def take(self, path: str, placed: Sequence[Placed], *, keep_missing: bool = False) -> tuple[list[Problem], bool]:
        """Make the documents what this file says.

        An object whose document is bad stays as it was. keep_missing: so does one that is no longer in the file, as the
        file may be half written.
        Returns the Problems that were not there before, and whether something stayed because of keep_missing.
        """
        layer = self._layer(path)
        before = layer.files.get(path, {})
        now, lines, problems, unnamed = self._read(path, placed, before)
        # A document whose name cannot be read may be any of those that are missing.
        missing = [key for key in before if key not in now]
        kept = keep_missing and bool(missing) and not unnamed
        if unnamed or keep_missing:
            now.update((key, before[key]) for key in missing)
            lines.update((key, self._lines[path].get(key, 1)) for key in missing)
        self._known[path] = {each.text: each.document for each in placed}
        self._lines[path] = lines
        new = list(self._problems.replace(path, problems))
        new += self._settle(layer, layer.replace(path, now))
        return new, kept

    def complain(self, path: str, reason: str, advice: str) -> Sequence[Problem]:
        """The file cannot be read at all: all it has given stays. Returns the Problem if it is new."""
        self._lines.setdefault(path, {})
        return self._problems.replace(path, [Problem(self._prefix + path, "", reason, advice, self._prefix + path)])

    def forget(self, path: str) -> list[Problem]:
        """The file is gone, and with it what it gave. Returns Problems that this has brought to light."""
        self._known.pop(path, None)
        self._lines.pop(path, None)
        self._problems.replace(path, ())
        layer = self._layer(path)
        return self._settle(layer, layer.replace(path, {}))

    def _layer(self, path: str) -> _Layer:
        return self._statuses if path.startswith(STATUS_FOLDER + "/") else self._manifests

    def _read(
        self, path: str, placed: Sequence[Placed], before: Mapping[Key, Object]
    ) -> tuple[dict[Key, Object], dict[Key, int], list[Problem], bool]:
        now: dict[Key, Object] = {}
        lines: dict[Key, int] = {}
        problems: list[Problem] = []
        unnamed = False
        is_status = self._layer(path) is self._statuses
        for each in placed:
            for found in each.document.found:
                line = each.line + found.line
                if found.object is None:
                    problems += self._wrong(path, each.line, found, found.key is not None and found.key in before)
                    unnamed = unnamed or found.key is None
                    if found.key is not None and found.key in before and found.key not in now:
                        now[found.key], lines[found.key] = before[found.key], line
                    continue
                key = found.object.key
                if key in now:
                    reason = f"is defined twice in this file, first on line {lines[key]}"
                    problems.append(Problem(str(key), "", reason, "remove one", self._where(path, line)))
                elif is_status and not hasattr(found.object, "status"):
                    problems.append(Problem(str(key), "", "has no status", "remove the file", self._where(path, line)))
                else:
                    now[key], lines[key] = found.object, line
        return now, lines, problems, unnamed

    def _wrong(self, path: str, line: int, found: Found, stays: bool) -> Iterable[Problem]:
        name = str(found.key) if found.key else found.title or self._prefix + path
        note = "; the last good version stays in use" if stays else ""
        for each in found.wrong:
            fault = each.fault
            yield Problem(name, fault.field, fault.reason + note, fault.advice, self._where(path, line + each.line))

    def _where(self, path: str, line: int) -> str:
        return f"{self._prefix}{path}:{line}"

    def _settle(self, layer: _Layer, changed: Iterable[Key]) -> list[Problem]:
        new: list[Problem] = []
        for key in changed:
            found = self._manifests.winner(key)
            if found is None:
                self._store.remove(key)
            else:
                over = self._statuses.winner(key)
                if over is not None:
                    # Structs of the same kind: what has a status in one has it in the other.
                    found = msgspec.structs.replace(found, status=cast("Any", over).status)
                self._store.put(found)
            claims = layer.claims.get(key, [])
            twice = [self._twice(key, claims[0], other) for other in claims[1:]]
            new += self._problems.replace(("status" if layer is self._statuses else "manifest", key), twice)
        return new

    def _twice(self, key: Key, first: str, other: str) -> Problem:
        reason = f"is also defined in {self._where(first, self._lines[first].get(key, 1))}, which is used"
        where = self._where(other, self._lines[other].get(key, 1))
        return Problem(str(key), "", reason, "remove one of the two", where)
