"""--tcp-services-configmap, --udp-services-configmap: ports that lead to a Service, whatever is spoken on them.

    data: {"5432": "shop/postgres:5432", "993": "mail/imap:imaps:PROXY", "25": "mail/smtp:25::PROXY"}

The first PROXY says that clients' connections begin with a PROXY header, the second that endpoints get one: of version
1, as nginx sends it. A port is a host table like others, "tcp:5432" or "udp:53", so that all that follows Services
follows these as well.
"""

import re
from typing import NamedTuple

from ingress.routes.model import DATAGRAMS, STREAM, HostTable, Route, Variant, backend_key
from ingress.routes.treatment import UDP, variant_of
from lb.cluster.objects import ConfigMap
from lb.cluster.problems import Problem

_ENTRY = re.compile(r"([a-z0-9][a-z0-9-]*)/([a-z0-9][a-z0-9-]*):([a-z0-9][a-z0-9-]*)(?::(PROXY)?(?::(PROXY)?)?)?")


class Streams(NamedTuple):
    tables: dict[str, HostTable]
    variants: list[Variant]
    problems: list[Problem]


def read_streams(found: ConfigMap | None, kind: str = STREAM) -> Streams:
    """What the ConfigMap asks for, of STREAM or DATAGRAMS; a port that makes no sense is left out with a Problem."""
    streams = Streams({}, [], [])
    if found is None:
        return streams
    title = f"ConfigMap {found.metadata.namespace}/{found.metadata.name}"
    for port, text in (found.data or {}).items():
        entry = _ENTRY.fullmatch(text.strip())
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            streams.problems.append(Problem(title, f"data[{port}]", f'"{port}" is not a port', "use 1 to 65535"))
        elif entry is None:
            reason = f'"{text}" names no port of a Service'
            streams.problems.append(Problem(title, f"data[{port}]", reason, "write namespace/service:port"))
        else:
            namespace, service, name, decodes, encodes = entry.groups()
            variant = variant_of({"transport": {"proxy_protocol": 1}} if encodes else {}, cluster_ip=False)
            if kind == DATAGRAMS:
                variant = UDP
            key = backend_key(namespace, service, name)
            if variant is not None:
                streams.variants.append(variant)
                key += variant.suffix
            host = f"{kind}{int(port)}"
            route = Route(0, host, "/", False, key, "", f"{title}: data[{port}]")
            streams.tables[host] = HostTable(host, (route,), passthrough=key, headed=bool(decodes))
    return streams
