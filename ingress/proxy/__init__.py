"""The HTTP data plane: the only compiled folder. `Engine` moves requests; everything else here is part of it."""

from ingress.proxy.engine import Engine
from ingress.proxy.settings import BackendSpec, ClientAuth, RouteOptions, RouteSpec, Settings, Transport, UpstreamTls

__all__ = ["BackendSpec", "ClientAuth", "Engine", "RouteOptions", "RouteSpec", "Settings", "Transport", "UpstreamTls"]
