"""Who may come by its address: allowlist-source-range, denylist-source-range. What is wrong closes the Ingress.

Annotations take the place of the ConfigMap's lists, they are not added to them.
"""

from msgspec.structs import replace

from ingress.routes.annotations.access import access_of, close
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

ALLOW, ALLOW_BEFORE, DENY = "allowlist-source-range", "whitelist-source-range", "denylist-source-range"

NAMES = {ALLOW: Risk.MEDIUM, ALLOW_BEFORE: Risk.MEDIUM, DENY: Risk.MEDIUM}
CONFIG = frozenset({ALLOW_BEFORE, DENY})


def read(reader: Reader, wishes: Wishes) -> None:
    allow = ALLOW if reader.has(ALLOW) else ALLOW_BEFORE
    allowed = _networks(reader, wishes, allow, config=ALLOW_BEFORE)
    denied = _networks(reader, wishes, DENY, config=DENY)
    if allowed or denied:
        wishes.filters["access"] = replace(access_of(wishes), allow=allowed, deny=denied)


def _networks(reader: Reader, wishes: Wishes, name: str, *, config: str) -> tuple[str, ...]:
    found = reader.networks(name, config=config)
    given = reader.has(name) or bool(reader.config.get(config, "").strip())
    if given and (not found or (reader.has(name) and not reader.text(name))):
        if found == () and reader.text(name):
            reader.wrong(name, "it lists no network", "write addresses or networks, 10.0.0.0/8,192.168.1.7")
        close(wishes, f"{name} is not a list of networks")
    return found or ()
