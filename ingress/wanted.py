"""Flags that say what is served and what counts behind it: all forms of the proxy and `causeway check` have them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from ingress.compat_flags import Watching
from ingress.listeners import BadAddress
from ingress.publish import read_service
from ingress.routes.classes import NGINX_CLASS, NGINX_CONTROLLER, OWN_CLASS, OWN_CONTROLLER, Selection
from ingress.routes.compile import KINDS
from ingress.routes.model import Defaults
from ingress.targets import allow_filters
from lb.cluster.objects import Ingress, IngressClass, Namespace, Node, Object, Service

F = TypeVar("F", bound=Callable[..., Any])


def reads(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that reads a flag's text; what is wrong with it becomes a usage error that names the flag."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(map(read, value))
            return None if value is None else read(value)
        except BadAddress as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


_NAMED = (
    ("configmap", "Read settings from this ConfigMap, by the keys of ingress-nginx, and follow it."),
    ("default-backend-service", "Requests that no rule takes go to this Service's first port."),
    (
        "default-ssl-certificate",
        "Show the certificate of this Secret where no other fits.  [default: self-signed]",
    ),
    (
        "tcp-services-configmap",
        'Hand connections to Services by this ConfigMap: port -> "namespace/service:port[:PROXY[:PROXY]]".',
    ),
    ("udp-services-configmap", 'Hand datagrams to Services by this ConfigMap: port -> "namespace/service:port".'),
)


def defaults_flags(command: F) -> F:
    """What counts where an Ingress says nothing; `take_defaults` reads them."""
    command = allow_filters(command)
    for name, text in reversed(_NAMED):
        command = click.option(f"--{name}", callback=reads(read_service), metavar="NAMESPACE/NAME", help=text)(command)
    return command


def take_defaults(flags: dict[str, Any], **others: Any) -> Defaults:
    """Takes the flags of `defaults_flags` out of `flags`; others: further fields."""
    return Defaults(
        backend=flags.pop("default_backend_service"),
        config_map=flags.pop("configmap"),
        certificate=flags.pop("default_ssl_certificate"),
        tcp_services=flags.pop("tcp_services_configmap"),
        udp_services=flags.pop("udp_services_configmap"),
        extensions=flags.pop("allow_filters"),
        **others,
    )


def kinds_of(selection: Selection, defaults: Defaults, *, withdraw: bool = False) -> tuple[type[Object], ...]:
    """What to read of an API server; withdraw: only to take statuses back."""
    labels = (Namespace,) if selection.namespace_labels else ()
    if withdraw:
        return (Ingress, IngressClass, Service, *labels)
    zone = (Node,) if defaults.here.node and not defaults.here.zone else ()
    return (*KINDS, *labels, *zone)


def class_flags(command: F) -> F:
    """Whose Ingresses are ours; `take_selection` reads them."""
    for option in (
        click.option("--watch-ingress-without-class", is_flag=True, help="Serve Ingresses that name no class as well."),
        click.option(
            "--ingress-class",
            multiple=True,
            default=(NGINX_CLASS, OWN_CLASS),
            show_default=True,
            help="Serve Ingresses whose annotation kubernetes.io/ingress.class has this value. Repeatable.",
        ),
        click.option(
            "--controller-class",
            multiple=True,
            default=(OWN_CONTROLLER, NGINX_CONTROLLER),
            show_default=True,
            help="Serve Ingresses whose IngressClass has this spec.controller. Repeatable.",
        ),
    ):
        command = option(command)
    return command


def take_selection(flags: dict[str, Any], watching: Watching, *, base: Selection) -> Selection:
    """Takes the flags of `class_flags` out of `flags`."""
    return replace(
        base,
        controllers=flags.pop("controller_class"),
        annotation_classes=flags.pop("ingress_class"),
        classless=flags.pop("watch_ingress_without_class") or base.classless,
        **watching.selection,
    )
