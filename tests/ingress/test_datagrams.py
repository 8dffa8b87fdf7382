"""Ports of UDP services in a worker; black-box: behaviour/test_streams.py."""

import asyncio
import socket

from ingress import wire
from ingress.datagrams import DatagramPorts
from ingress.proxy import Engine, Settings
from tests.ingress.behaviour.test_streams import free_port


def taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        try:
            other.bind(("", port))
        except OSError:
            return True
    return False


async def test_nothing_is_opened_while_requests_drain() -> None:
    """Its datagrams are the next supervisor's workers'."""
    engine, ports = Engine(Settings(), asyncio.get_running_loop()), DatagramPorts()
    lines, one, two = wire.HostLines((), passthrough="x"), free_port(), free_port()
    ports.lead(engine, one, lines)
    assert taken(one)
    ports.close()
    assert not taken(one)
    for port in (one, two):
        ports.lead(engine, port, lines)
        assert not taken(port)
        ports.lead(engine, port, None)
    engine.close()
