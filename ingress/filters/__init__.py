"""What a route does besides forwarding: one concern in each module, plain Python, run in the workers.

    api.py     what a filter sees and may do; begin here
    chain.py   the filters of one route, one after the other
    extensions.py   those of other packages

A route without filters pays nothing for them; one with filters pays for the hooks these have. `FILTERS` names every
filter there is, in the order in which they see a request: what ends a request cheaply comes first, then who may pass,
then where it goes. Responses are seen in the opposite order.
"""

FILTERS: dict[str, str] = {
    "tracing": "ingress.filters.tracing:Tracing",
    "unlogged": "ingress.filters.unlogged:Unlogged",
    "told": "ingress.filters.headers:Told",
    "blocks": "ingress.filters.blocks:Blocks",
    "healthy": "ingress.filters.healthy:Healthy",
    "closed": "ingress.filters.closed:Closed",
    "nobody": "ingress.filters.nobody:Nobody",
    "certificate": "ingress.filters.certificate:Certificate",
    "www": "ingress.filters.redirect:Www",
    "slash": "ingress.filters.redirect:Slash",
    "app-root": "ingress.filters.redirect:AppRoot",
    "cors": "ingress.filters.cors:Cors",
    "redirect": "ingress.filters.redirect:Redirect",
    "https": "ingress.filters.https:Https",
    "limits": "ingress.filters.limits:Limits",
    "access": "ingress.filters.access:Access",
    "uncompressed": "ingress.filters.uncompressed:Uncompressed",
    "headers": "ingress.filters.headers:Headers",
    "rewrite": "ingress.filters.rewrite:Rewrite",
    "locations": "ingress.filters.locations:Locations",
    "mirror": "ingress.filters.mirror:Mirror",
    "mirror-head": "ingress.filters.mirror:MirrorHead",
    "errors": "ingress.filters.errors:Errors",
    "scheme": "ingress.filters.scheme:Scheme",
    "canary": "ingress.filters.canary:Canary",
    "affinity": "ingress.filters.affinity:Affinity",
    "hash": "ingress.filters.hash:Hash",
    "cookies": "ingress.filters.cookies:Cookies",
}
"""Name -> "module:Class", in the order of running. A module is imported by the first route that needs it."""

EXTENSION = "extension:"
"""Begins the names of filters of other packages (extensions.py).

They run after `EXTENSIONS_AFTER`: who may not pass does not reach them."""
EXTENSIONS_AFTER = "access"
