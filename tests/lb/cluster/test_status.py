import asyncio
import os
from pathlib import Path

import pytest
import yaml

from lb.cluster.connection import Connection, from_kubeconfig
from lb.cluster.manifests import ManifestFolder
from lb.cluster.objects import (
    Condition,
    Ingress,
    IngressStatus,
    Key,
    LoadBalancerIngress,
    LoadBalancerStatus,
    PortStatus,
    Service,
    ServiceStatus,
)
from lb.cluster.status import ApiStatus, FolderStatus, StatusFailed
from lb.cluster.store import ObjectStore
from lb.reconcile import ApplyFailed
from tests.lb.cluster.conftest import RealApi

WEB = Key("Service", "shop", "web")


def balanced(*ips: str) -> LoadBalancerStatus:
    return LoadBalancerStatus(ingress=tuple(LoadBalancerIngress(ip=ip) for ip in ips))


async def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80}]}\n---\n"
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\n"
        "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n"
    )
    service_status = ServiceStatus(
        load_balancer=LoadBalancerStatus(
            ingress=(LoadBalancerIngress(ip="192.0.2.1", ip_mode="VIP", ports=(PortStatus(port=80),)),)
        ),
        conditions=(Condition(type="Ready", status="True"),),
    )
    ingress_status = IngressStatus(load_balancer=balanced("192.0.2.2", "fd00::2"))
    status = FolderStatus(tmp_path)
    await status.write_service(WEB, service_status)
    await status.write_ingress(Key("Ingress", "shop", "web"), ingress_status)
    store = ObjectStore()
    folder = ManifestFolder(tmp_path, store)
    folder.load()
    assert len(folder.problems) == 0
    service, ingress = store.get(Service, "shop", "web"), store.get(Ingress, "shop", "web")
    assert service is not None
    assert ingress is not None
    assert service.status == service_status
    assert ingress.status == ingress_status
    assert service.spec.ports[0].port == 80


async def test_one_file_per_object_with_status_only(tmp_path: Path) -> None:
    status = FolderStatus(tmp_path)
    await status.write_service(WEB, ServiceStatus(load_balancer=balanced("192.0.2.1")))
    (file,) = (tmp_path / ".status").iterdir()
    assert file.name == "Service.shop.web.yaml"
    assert yaml.safe_load(file.read_text()) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": "web"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }
    assert file.stat().st_mode & 0o777 == 0o644
    before = file.stat()
    await status.write_service(WEB, ServiceStatus(load_balancer=balanced("192.0.2.1")))
    assert file.stat().st_ino == before.st_ino  # nothing new: not written again
    await status.write_service(WEB, ServiceStatus())
    assert yaml.safe_load(file.read_text())["status"] == {}
    await status.forget(WEB)
    await status.forget(WEB)
    assert list((tmp_path / ".status").iterdir()) == []


async def test_several_writers_at_once(tmp_path: Path) -> None:
    writers = [FolderStatus(tmp_path) for _ in range(4)]
    await asyncio.gather(
        *(
            writer.write_service(Key("Service", "shop", f"s{n}"), ServiceStatus(load_balancer=balanced(f"192.0.2.{n}")))
            for writer in writers
            for n in range(20)
        )
    )
    assert len(list((tmp_path / ".status").iterdir())) == 20


async def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / ".status").write_text("in the way")
    with pytest.raises(StatusFailed, match=r"Service.shop.web.yaml cannot be written: .*; make .* writable"):
        await FolderStatus(tmp_path).write_service(WEB, ServiceStatus())
    with pytest.raises(ApplyFailed):  # what the reconcile loop tries again
        await FolderStatus(tmp_path / "nowhere").write_service(WEB, ServiceStatus())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)  # noqa: ASYNC240
    with pytest.raises(StatusFailed, match="Permission denied"):
        await FolderStatus(tmp_path).write_service(WEB, ServiceStatus())
    tmp_path.chmod(0o755)  # noqa: ASYNC240


@pytest.mark.timeout(180)
async def test_real_statuses(real_api: RealApi) -> None:
    await real_api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "status"}})
    services = "/api/v1/namespaces/status/services"
    content = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    await real_api.request("POST", services, content)
    ingresses = "/apis/networking.k8s.io/v1/namespaces/status/ingresses"
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    await real_api.request("POST", ingresses, {"metadata": {"name": "web"}, "spec": {"defaultBackend": backend}})
    connection = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.admin})))
    status = ApiStatus(connection)
    key = Key("Service", "status", "web")
    for ips in (["192.0.2.1", "192.0.2.2"], ["192.0.2.2"], ["192.0.2.2"], []):
        await status.write_service(key, ServiceStatus(load_balancer=balanced(*ips)))
        found = await real_api.request("GET", f"{services}/web")
        assert [each["ip"] for each in found["status"]["loadBalancer"].get("ingress", [])] == ips
        await status.write_ingress(key, IngressStatus(load_balancer=balanced(*ips)))
        found = await real_api.request("GET", f"{ingresses}/web")
        assert [each["ip"] for each in found["status"]["loadBalancer"].get("ingress", [])] == ips
    condition = Condition(type="Ready", status="True", reason="Ok", last_transition_time="2026-01-01T00:00:00Z")
    await status.write_service(key, ServiceStatus(conditions=(condition,)))
    found = await real_api.request("GET", f"{services}/web")
    assert [each["type"] for each in found["status"]["conditions"]] == ["Ready"]
    await status.write_service(Key("Service", "status", "gone"), ServiceStatus())  # no error
    await status.forget(key)
    with pytest.raises(StatusFailed, match=r"status of Service status/web cannot be written: 422 "):
        await status.write_service(key, ServiceStatus(load_balancer=balanced("nonsense")))
    await connection.close()
    nobody = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.nobody})))
    with pytest.raises(StatusFailed, match="403"):
        await ApiStatus(nobody).write_service(key, ServiceStatus())
    await nobody.close()
