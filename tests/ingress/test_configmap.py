"""`--configmap`: its keys reach running workers, and its faults are told."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from lb.cluster.objects import ConfigMap, Metadata
from tests.ingress.peers import Client, ask, endpoints
from tests.ingress.serving import Folder, flat, serving
from tests.ingress.state import ingress, service

FLAGS = ("--configmap", "ingress/controller", "--workers", "1")
HOST = "a.example"


def write_config(folder: Folder, **data: str) -> None:
    named = {name.replace("_", "-"): value for name, value in data.items()}
    folder.write("config", [ConfigMap(metadata=Metadata(name="controller", namespace="ingress"), data=named)])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "manifests")


def write_route(folder: Folder, address: str) -> None:
    folder.write("one", flat([ingress("one", {HOST: [("/", "Prefix", "x")]})], service("x", address)))


async def test_keys_apply_live_and_to_workers_that_come_later(folder: Folder) -> None:
    long = "/" + "x" * 1500
    async with endpoints("web") as (web,):
        write_route(folder, web.address)
        write_config(folder, large_client_header_buffers="2 1k")
        async with serving("-f", str(folder.path), *FLAGS) as running:
            client = await Client.connect(running.http)
            assert (await client.ask(HOST, "/")).status == 200
            assert (await ask(running.http, HOST, long)).status == 414
            (worker,) = running.workers()
            os.kill(worker, signal.SIGKILL)
            await running.until_replaced(worker, 1)
            assert (await ask(running.http, HOST, long)).status == 414
            client = await Client.connect(running.http)
            assert (await client.ask(HOST, "/")).status == 200
            write_config(folder, large_client_header_buffers="4 8k")
            await running.until_answer(HOST, long, lambda answer: answer.status == 200)
            assert (await client.ask(HOST, "/")).status == 200, "no connection is closed"
            client.close()
            folder.remove("config")
            await running.until_answer(HOST, long * 10, lambda answer: answer.status == 200)


async def test_what_the_engine_does_not_take_is_told_and_the_rest_applies(folder: Folder) -> None:
    long = "/" + "x" * 1500
    async with endpoints("web") as (web,):
        write_route(folder, web.address)
        write_config(folder, large_client_header_buffers="2 1k", log_format_upstream="$host $nonsense", keep_alvie="7")
        async with serving("-f", str(folder.path), *FLAGS) as running:
            assert (await ask(running.http, HOST, long)).status == 414
            await running.until(lambda: "data[log-format-upstream]" in running.log)
            assert "unknown variable $nonsense" in running.log
            assert "data[keep-alvie]: it is not known here" in running.log
            write_config(folder, large_client_header_buffers="8 8k")
            await running.until_answer(HOST, long, lambda answer: answer.status == 200)


async def test_218_proxy_protocol_by_key(folder: Folder) -> None:
    async with endpoints("web") as (web,):
        write_route(folder, web.address)
        write_config(folder, use_proxy_protocol="true", proxy_real_ip_cidr="127.0.0.0/8")
        async with serving("-f", str(folder.path), *FLAGS) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.http)
            writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 443\r\n")
            headers = (await Client(reader, writer).ask(HOST, "/")).echo["headers"]
            writer.close()
            assert headers["x-forwarded-for"] == "192.0.2.7"
            write_config(folder, proxy_real_ip_cidr="127.0.0.0/8")
            await running.until(lambda: "use-proxy-protocol has changed" in running.log)


async def test_238_default_backend_service_by_flag(folder: Folder) -> None:
    async with endpoints("web", "last") as (web, last):
        write_route(folder, web.address)
        folder.write("last", service("last", last.address))
        async with serving("-f", str(folder.path), "--default-backend-service", "shop/last", *FLAGS) as running:
            assert (await ask(running.http, HOST)).service == "web"
            assert (await ask(running.http, "unknown.example", "/deep")).service == "last"
            folder.remove("last")
            await running.until_answer("unknown.example", "/", lambda answer: answer.status == 404)
