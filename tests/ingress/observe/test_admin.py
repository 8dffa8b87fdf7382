"""The admin endpoint: what is served, and what is wrong."""

import json
from pathlib import Path

from tests.ingress.peers import ask, endpoints
from tests.ingress.serving import Folder, serving
from tests.ingress.state import ingress, service


async def test_routes_and_problems(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    rules: dict[str, list[tuple[str, str | None, str]]] = {"a.example": [("/x", "Exact", "web")]}
    folder.write("web", [ingress("web", rules), ingress("all", default="gone"), *service("web", "10.0.0.1:8080")])
    folder.write_text("bad", "kind: [")
    async with serving("-f", str(tmp_path), "--workers", "1") as running:
        answer = json.loads((await running.ask_admin("/routes")).body)
        assert answer["routes"] == [
            {
                "host": "*",
                "path": "/",
                "type": "default",
                "ingress": "shop/all",
                "field": "spec.defaultBackend",
                "backend": "shop/gone:80",
                "filters": [],
                "endpoints": [],
                "state": "Service shop/gone does not exist",
            },
            {
                "host": "a.example",
                "path": "/x",
                "type": "Exact",
                "ingress": "shop/web",
                "field": "spec.rules[0].http.paths[0]",
                "backend": "shop/web:80",
                "filters": [],
                "endpoints": ["10.0.0.1:8080"],
                "state": "1 of 1 endpoints ready",
            },
        ]
        assert len(answer["problems"]) == 2
        assert {"object", "field", "reason", "advice", "where", "minor"} == set(answer["problems"][0])
        assert (await running.ask_admin("/healthz")).body == b"ok\n"
        assert (await running.ask_admin("/readyz")).body == b"ok\n"
        assert (await running.ask_admin("/nothing")).status == 404
        assert (await ask(running.admin, "admin", "/routes", method="POST", body=b"x")).status == 405


async def test_endpoints_and_their_numbers(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("web") as (web,):
        rules: dict[str, list[tuple[str, str | None, str]]] = {
            "a.example": [("/", "Prefix", "web"), ("/also", "Prefix", "also"), ("/away", "Prefix", "away")]
        }
        found = [*service("web", web.address), *service("also", web.address), *service("away", "127.0.0.1:9")]
        folder.write("web", [ingress("web", rules), *found])
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            for path in ("/", "/x", "/also", "/away"):
                await ask(running.http, "a.example", path)
            answer = json.loads((await running.ask_admin("/endpoints")).body)["endpoints"]
            away, here = answer if answer[1]["address"] == web.address else reversed(answer)
            assert (away["address"], away["backends"]) == ("127.0.0.1:9", ["shop/away:80"])
            assert away["failures"] >= 1
            assert here["backends"] == ["shop/also:80", "shop/web:80"]
            assert (here["requests"], here["failures"], here["ejected_by_workers"]) == (3, 0, 0)
            assert here["open"] == here["idle"] >= 1
            folder.write("web", [ingress("web", rules)])
            await running.until_answer("a.example", "/", lambda answer: answer.status == 503)
