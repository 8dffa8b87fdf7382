"""Scheme, host and port by which a client has come, as redirects write them."""

from ingress.filters.api import Request


def host_of(request: Request) -> str:
    """The host as the client wrote it, without port."""
    authority = request.authority
    name, colon, port = authority.rpartition(":")
    return (name if colon and not port.endswith("]") else authority) or request.host


def origin_of(request: Request, *, with_port: bool = False) -> str:
    """ "https://shop.example.com"; with_port: and ":8443", unless the port is the scheme's own."""
    scheme, own = ("https", 443) if request.secure else ("http", 80)
    port = f":{request.port}" if with_port and request.port != own else ""
    return f"{scheme}://{request.host or host_of(request)}{port}"
