"""Filters of other packages: causeway.dev/filters: "stamp,guard", of those that the operator allows.

causeway.dev/filter-options is a JSON object, filter name -> what that filter is told. A filter may be there to keep
requests out, so an Ingress whose filters cannot all be had is closed.
"""

from typing import Any

import msgspec

from ingress.filters import EXTENSION
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {"filters": Risk.MEDIUM, "filter-options": Risk.MEDIUM}
CONFIG: frozenset[str] = frozenset()


def read(reader: Reader, wishes: Wishes) -> None:
    """Fills in `filters` (the names that begin with EXTENSION) and `closed`."""
    names, options = reader.words("filters"), _options(reader, wishes)
    for name in names:
        specification = reader.extensions.get(name)
        if specification is None:
            allowed = ", ".join(sorted(reader.extensions)) or "none"
            reader.wrong(
                "filters",
                f'"{name}" is not a filter that the operator allows; allowed: {allowed}',
                "correct its name, or ask the operator (--allow-filters)",
            )
            wishes.closed = f"filter {name} is not allowed"
            continue
        try:
            wishes.filters[EXTENSION + name] = msgspec.convert(options.get(name, {}), specification)
        except msgspec.ValidationError as error:
            reader.wrong("filter-options", f"{name}: {error}", "correct what the filter is told")
            wishes.closed = f"filter {name} cannot be told what it is to do"
    for name in sorted(set(options) - set(names)):
        reader.wrong("filter-options", f'"{name}" is none of the Ingress\'s filters', "name it there", minor=True)


def _options(reader: Reader, wishes: Wishes) -> dict[str, Any]:
    text = reader.text("filter-options")
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        reader.wrong("filter-options", f"it is not a JSON object: {error}", 'write {"FILTER": {"OPTION": "VALUE"}}')
        wishes.closed = "what its filters are told cannot be read"
        return {}
