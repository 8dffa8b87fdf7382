"""Hosts and paths meant not for a proxy but for the text of nginx's configuration: attacks on others of its kind.

Nothing here is written into a configuration, so none of them could do harm; whoever writes one means harm all the same,
and ingress-nginx leaves out the whole Ingress. Source: ingress-nginx, internal/ingress/inspector.
"""

import re

from lb.cluster.objects import Ingress

_DANGERS = (
    (re.compile(r"\b(alias|root)\s[^;]*;", re.DOTALL), "has a directive of nginx"),
    (re.compile(r"/etc/(passwd|shadow|group|nginx|ingress-controller)"), "names files of the system"),
    (re.compile(r"/var/run/secrets"), "names the credentials of a Pod"),
    (re.compile(r"_by_lua"), "has a directive of nginx's Lua"),
)
_LITERAL = re.compile(r"/[A-Za-z0-9._/-]*")


def danger(ingress: Ingress) -> tuple[str, str]:
    """Where a host or path is dangerous, and why; ("", "") if none is."""
    for number, rule in enumerate(ingress.spec.rules):
        texts = [(f"spec.rules[{number}].host", rule.host)]
        for index, path in enumerate(rule.http.paths if rule.http else ()):
            texts.append((f"spec.rules[{number}].http.paths[{index}].path", path.path))
        for field, text in texts:
            for pattern, reason in _DANGERS:
                if text and pattern.search(text):
                    return field, f"{text!r} {reason}"
    return "", ""


def is_literal(path: str) -> bool:
    """Whether ingress-nginx takes it for Exact and Prefix: letters, digits, ".", "_", "-" and "/"."""
    return _LITERAL.fullmatch(path) is not None
