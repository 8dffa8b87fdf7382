from pathlib import Path

from causeway.demo.control import Wanted

GOOD = """
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 3, template: {spec: {containers: [{name: c}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
"""


def test_a_bad_file_keeps_its_last_good_content(tmp_path: Path) -> None:
    said: list[str] = []
    wanted = Wanted(tmp_path, said.append)
    file = tmp_path / "shop.yaml"
    for text, complaints in ((GOOD, 0), (GOOD + "  x: [", 1), (GOOD.replace("3", "many"), 2), (GOOD, 2)):
        file.write_text(text)
        wanted.read()
        wanted.read()  # what has not changed is not complained about again
        assert [each.spec.replicas for each in wanted.deployments] == [3]
        assert [each.metadata.name for each in wanted.services] == ["web"]
        assert len(said) == complaints
    assert "shop.yaml" in said[0]
    assert "spec.replicas" in said[1]


def test_half_written_and_generated_files_are_not_read(tmp_path: Path) -> None:
    wanted = Wanted(tmp_path, lambda _: None)
    (tmp_path / ".shop.yaml.new").write_text(GOOD)
    (tmp_path / ".shop.yaml").write_text(GOOD)
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "shop.yaml").write_text(GOOD)
    wanted.read()
    assert wanted.deployments == []


def test_a_file_that_is_gone_takes_its_objects_with_it(tmp_path: Path) -> None:
    wanted = Wanted(tmp_path, lambda _: None)
    (tmp_path / "shop.yaml").write_text(GOOD)
    wanted.read()
    (tmp_path / "shop.yaml").unlink()
    wanted.read()
    assert (wanted.deployments, wanted.services) == ([], [])
