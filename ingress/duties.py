"""What the supervisor of an Ingress controller does beside: Events for Problems, the admission webhook."""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from ingress.listeners import BadAddress, CannotListen, open_admin, read_listening
from ingress.routes.admission import judge
from ingress.run import Duty
from lb.cluster.source import Opened

F = TypeVar("F", bound=Callable[..., Any])

FLAG = "--validating-webhook"


def telling(opened: Opened) -> Duty:
    from lb.cluster.events import Events  # imports the Kubernetes client: only where there is an API server

    assert opened.connection is not None
    events = Events(opened.connection, opened.store, "ingress")
    return lambda table: events.run(table.problems)


def webhook_flags(command: F) -> F:
    """Named as ingress-nginx has them."""
    file = click.Path(path_type=Path)
    for option in (
        click.option(f"{FLAG}-key", type=file, metavar="FILE", help="Its private key, PEM."),
        click.option(
            f"{FLAG}-certificate", type=file, metavar="FILE", help="Its certificate chain, PEM; read again on change."
        ),
        click.option(FLAG, metavar="ADDR", help="Serve the admission webhook here, by TLS, as in :8443."),
    ):
        command = option(command)
    return command


def admission_webhook(flags: dict[str, Any]) -> list[Duty]:
    """Takes the flags of the webhook out of `flags`. Raises click's exceptions for what cannot be opened."""
    text, *files = (flags.pop(f"validating_webhook{part}") for part in ("", "_certificate", "_key"))
    if not text:
        return []
    if None in files:
        raise click.UsageError(f"{FLAG} needs {FLAG}-certificate and {FLAG}-key: the API server asks by TLS")
    from ingress.admission import AdmissionWebhook, load_pair

    try:
        context = load_pair(*files)
        listening = open_admin(FLAG, read_listening(text), shared=True)  # with the process before an upgrade
    except (OSError, ssl.SSLError) as error:
        raise click.ClickException(f"{FLAG}-certificate {files[0]}, {FLAG}-key {files[1]}: {error}") from None
    except (CannotListen, BadAddress) as error:
        raise click.ClickException(f"{FLAG}: {error}") from None
    return [lambda table: AdmissionWebhook(partial(judge, table), listening, context, files).run()]
