"""The admin endpoint: what is served, and what is wrong."""

import json
from pathlib import Path

from tests.ingress.peers import ask
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
                "endpoints": ["10.0.0.1:8080"],
                "state": "1 of 1 endpoints ready",
            },
        ]
        assert len(answer["problems"]) == 2
        assert {"object", "field", "reason", "advice", "where"} == set(answer["problems"][0])
        assert (await running.ask_admin("/healthz")).body == b"ok\n"
        assert (await running.ask_admin("/readyz")).body == b"ok\n"
        assert (await running.ask_admin("/nothing")).status == 404
        assert (await ask(running.admin, "admin", "/routes", method="POST", body=b"x")).status == 405
