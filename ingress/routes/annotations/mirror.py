"""mirror-*: copies of requests."""

import re

from ingress.filters.mirror import MirrorSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {"mirror-target": Risk.HIGH, "mirror-request-body": Risk.LOW, "mirror-host": Risk.HIGH}
CONFIG: frozenset[str] = frozenset()

_HOST = re.compile(r"(?:[0-9A-Za-z.-]|\$\w+|\$\{\w+\})+(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?")
_URL = re.compile(rf"https?://(?:{_HOST.pattern})(?:[/?$][!-~]*)?")


def read(reader: Reader, wishes: Wishes) -> None:
    target = reader.text("mirror-target")
    with_body = reader.choice("mirror-request-body", ("on", "off"), "on") == "on"
    if not target:
        return
    try:
        Template.parse(target)
        if not _URL.fullmatch(target):
            raise ValueError(f'"{target}" is not a url')
    except ValueError as error:
        reader.wrong("mirror-target", str(error), "write https://mirror.example.com$request_uri; nothing is mirrored")
        return
    host = reader.text("mirror-host")
    if host and not _HOST.fullmatch(host):
        reader.wrong("mirror-host", f'"{host}" is not a host', "the host of mirror-target counts")
        host = ""
    wishes.filters["mirror" if with_body else "mirror-head"] = MirrorSpecification(target, host)
