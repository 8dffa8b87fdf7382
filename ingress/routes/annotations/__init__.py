"""Annotations of an Ingress -> `Wishes`: one module for each group, a typed parser beside the filter it is for.

A group is a module with

    NAMES: dict[str, Risk]          the annotations it owns, by plain name
    CONFIG: frozenset[str]          the ConfigMap keys it reads behind them, and those that are only the ConfigMap's
    def read(reader, wishes)        reads them; reports what is wrong, fills in what they ask for

and a line in GROUPS. Sources: ingress-nginx, docs/user-guide/nginx-configuration/annotations.md and configmap.md.
"""

from collections.abc import Mapping
from types import ModuleType

import msgspec

from ingress.routes.annotations import (
    access_log,
    affinity,
    aliases,
    basic_auth,
    blocks,
    canary,
    client_certificates,
    cors,
    errors,
    extensions,
    external_auth,
    guard,
    headers,
    limits,
    lists,
    mirror,
    redirects,
    refused,
    rewrite,
    server_tls,
    tracing,
    upstream,
    upstream_tls,
)
from ingress.routes.annotations.idle import Idle
from ingress.routes.annotations.reader import NO_EXTENSIONS, PREFIXES, Find, Reader
from ingress.routes.annotations.wishes import Risk, Wishes
from lb.cluster.objects import Ingress, Key
from lb.cluster.problems import Problem

GROUPS: tuple[ModuleType, ...] = (
    aliases,
    redirects,
    rewrite,
    cors,
    headers,
    access_log,
    blocks,
    limits,
    lists,
    basic_auth,
    external_auth,
    client_certificates,
    server_tls,
    upstream,
    upstream_tls,
    affinity,
    canary,
    errors,
    mirror,
    tracing,
    extensions,
    refused,
)
"""In the order of reading: of two that fill in the same, the later one counts."""
KNOWN: frozenset[str] = frozenset({"strict"}.union(*(group.NAMES for group in GROUPS)))
"""Every annotation there is; "strict" is read with the class."""
RISKS: dict[str, Risk] = {name: risk for group in GROUPS if group is not refused for name, risk in group.NAMES.items()}
"""What has no effect has no risk."""

__all__ = ["GROUPS", "KNOWN", "PREFIXES", "Find", "Idle", "Reader", "Risk", "Wishes", "read_annotations"]


def read_annotations(
    ingress: Ingress,
    config: Mapping[str, str],
    find: Find,
    *,
    prefixes: tuple[str, ...] = PREFIXES,
    compat: bool = True,
    default_backend: str = "",
    extensions: Mapping[str, type[msgspec.Struct]] = NO_EXTENSIONS,
    idle: Idle | None = None,
    https_port: int = 443,
) -> tuple[Wishes, list[Problem], set[Key]]:
    """What the annotations ask for, what is wrong with them, and the objects they refer to.

    idle: of the same ConfigMap, saves the time of groups that have nothing to read.
    """
    reader = Reader(
        ingress,
        config,
        find,
        prefixes=prefixes,
        compat=compat,
        default_backend=default_backend,
        extensions=extensions,
        https_port=https_port,
    )
    wishes = Wishes()
    if idle is not None:
        idle.read(GROUPS, reader, wishes)
    else:
        for group in GROUPS:
            group.read(reader, wishes)
    wishes.refused = wishes.refused or guard.refusal(reader, RISKS)
    for name in reader.names:
        if name not in KNOWN:
            reader.wrong(name, "it is not known here", "correct its name, or remove it: it has no effect", minor=True)
    return wishes, reader.problems, reader.references
