"""Flags about the status of Ingresses -> who writes it, and what."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ingress.publish import StatusPublisher, read_published, read_service
from ingress.replicas import Replicas
from ingress.wanted import reads
from lb.cluster.source import Opened

F = TypeVar("F", bound=Callable[..., Any])


def publishing(command: F) -> F:
    """What both forms of the proxy have."""
    options = (
        click.option(
            "--publish-service",
            callback=reads(read_service),
            metavar="NAMESPACE/NAME",
            help="Write this Service's addresses into the status of the Ingresses served, and follow them.",
        ),
        click.option(
            "--publish-status-address",
            callback=reads(read_published),
            metavar="ADDR[,ADDR...]",
            help="Write these addresses or names into the status of the Ingresses served.",
        ),
        click.option(
            "--update-status-on-shutdown",
            type=bool,
            default=True,
            metavar="BOOL",
            show_default=True,
            help="Take the status back when the last replica stops.",
        ),
    )
    return _with(command, options)


def publishing_nodes(command: F) -> F:
    """What the controller has beside."""
    options = (
        click.option(
            "--update-status",
            type=bool,
            default=True,
            metavar="BOOL",
            show_default=True,
            help="Write statuses. In a pod, with nothing to publish named: the addresses of the replicas' nodes.",
        ),
        click.option("--report-node-internal-ip-address", is_flag=True, help="Of nodes, write the internal addresses."),
        click.option(
            "--withdraw",
            is_flag=True,
            help="Only take the statuses of Ingresses back, from replicas that run, and end: before an uninstall.",
        ),
    )
    return _with(command, options)


def _with(command: F, options: tuple[Callable[[F], F], ...]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def publisher_of(opened: Opened, flags: dict[str, Any], replicas: Replicas) -> StatusPublisher | None:
    """Takes the flags above out of `flags`, but for --withdraw; None if nothing is published."""
    service, addresses = flags.pop("publish_service"), flags.pop("publish_status_address")
    takes_back = flags.pop("update_status_on_shutdown")
    wanted, internal = flags.pop("update_status", True), flags.pop("report_node_internal_ip_address", False)
    if not wanted:
        return None
    if service or addresses:
        return StatusPublisher(
            opened.status, addresses or (), service=service, replicas=replicas, takes_back=takes_back
        )
    namespace, pod = os.environ.get("POD_NAMESPACE"), os.environ.get("POD_NAME")
    if opened.connection is None or not namespace or not pod:
        return None
    from ingress.nodes import ReplicaNodes  # imports the Kubernetes client

    nodes = ReplicaNodes(opened.connection, namespace, pod, internal=internal)
    return StatusPublisher(opened.status, nodes=nodes, replicas=replicas, takes_back=takes_back)
