from lb.cluster.documents import read_documents
from lb.cluster.folder import FolderState
from lb.cluster.objects import Service
from lb.cluster.problems import Problems
from lb.cluster.store import ObjectStore
from lb.cluster.validate import validate_status


def service(name: str = "web", port: object = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n"
        f"spec:\n  ports:\n  - port: {port}\n"
    )


class Folder:
    def __init__(self) -> None:
        self.store, self.problems = ObjectStore(), Problems()
        self.state = FolderState(self.store, self.problems, "DIR/")

    def write(self, path: str, *documents: str, half_written: bool = False) -> bool:
        text = "---\n".join(documents)
        placed = read_documents(text, self.state.known(path))
        return self.state.take(path, placed, keep_missing=half_written)[1]

    @property
    def ports(self) -> dict[str, int]:
        return {each.metadata.name: each.spec.ports[0].port for each in self.store.all(Service)}

    @property
    def texts(self) -> list[str]:
        return [str(problem) for problem in self.problems]


def test_a_bad_document_keeps_its_objects_last_good_version() -> None:
    folder = Folder()
    folder.write("a.yaml", service("a"), service("b"))
    folder.write("a.yaml", service("a", "x"), service("b", 81))
    assert folder.ports == {"a": 80, "b": 81}
    assert folder.texts[0].startswith("DIR/a.yaml:6: Service shop/a: spec.ports[0].port: must be a whole number, not")
    folder.write("a.yaml", service("a", 82), service("b", 81))
    assert folder.ports == {"a": 82, "b": 81}
    assert folder.texts == []


def test_a_bad_document_without_an_earlier_version_is_left_out() -> None:
    folder = Folder()
    folder.write("a.yaml", service("a", "x"), service("b"))
    assert folder.ports == {"b": 80}
    assert "last good" not in folder.texts[0]


def test_a_document_whose_name_cannot_be_read_may_be_any_that_is_missing() -> None:
    folder = Folder()
    folder.write("a.yaml", service("a"), service("b"))
    folder.write("a.yaml", service("a", 81), "kind: [\n")
    assert folder.ports == {"a": 81, "b": 80}
    folder.write("a.yaml", service("a", 81), service("b").replace("Service", "Sevice"))
    assert folder.ports == {"a": 81, "b": 80}
    folder.write("a.yaml", service("a", 81))
    assert folder.ports == {"a": 81}


def test_a_file_that_may_be_half_written_loses_nothing() -> None:
    folder = Folder()
    folder.write("a.yaml", service("a"), service("b"))
    assert folder.write("a.yaml", service("a", 81), half_written=True)
    assert folder.ports == {"a": 81, "b": 80}
    assert not folder.write("a.yaml", service("a", 81), service("b", 81), half_written=True)
    assert folder.write("a.yaml", service("a", 81), half_written=True)
    assert not folder.write("a.yaml", service("a", 81))
    assert folder.ports == {"a": 81}


def test_the_first_file_by_path_wins_and_the_other_takes_over() -> None:
    folder = Folder()
    folder.write("b.yaml", service("web", 82))
    folder.write("a.yaml", "# nothing\n", service("web", 81))
    assert folder.ports == {"web": 81}
    assert folder.texts == [
        "DIR/b.yaml:1: Service shop/web: is also defined in DIR/a.yaml:3, which is used (remove one of the two)"
    ]
    folder.write("c.yaml", service("web", 83))
    assert len(folder.texts) == 2
    folder.state.forget("a.yaml")
    assert folder.ports == {"web": 82}
    assert folder.texts == [
        "DIR/c.yaml:1: Service shop/web: is also defined in DIR/b.yaml:1, which is used (remove one of the two)"
    ]
    folder.state.forget("c.yaml")
    assert folder.texts == []
    folder.state.forget("b.yaml")
    assert folder.ports == {}


def test_twice_in_one_file() -> None:
    folder = Folder()
    folder.write("a.yaml", service("web", 81), service("web", 82))
    assert folder.ports == {"web": 81}
    assert folder.texts == [
        "DIR/a.yaml:8: Service shop/web: is defined twice in this file, first on line 1 (remove one)"
    ]


def test_an_unreadable_file_keeps_all_it_gave() -> None:
    folder = Folder()
    folder.write("a.yaml", service("a"))
    folder.state.complain("a.yaml", "cannot be read: Permission denied", "check its permissions")
    assert folder.ports == {"a": 80}
    assert folder.texts == ["DIR/a.yaml: DIR/a.yaml: cannot be read: Permission denied (check its permissions)"]
    folder.write("a.yaml", service("a"))
    assert folder.texts == []


def test_only_what_changes_is_marked() -> None:
    folder = Folder()
    folder.write("a.yaml", *(service(f"s{number}") for number in range(100)))
    subscription = folder.store.subscribe([Service])
    subscription.take()
    folder.write("a.yaml", "# moves all lines\n", *(service(f"s{n}", 81 if n == 50 else 80) for n in range(100)))
    assert [key.name for key in subscription.take()] == ["s50"]


def test_a_status_waits_for_its_object() -> None:
    folder = Folder()
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n"
    text += "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n"
    path = ".status/Service.shop.web.yaml"
    folder.state.take(path, read_documents(text, check=validate_status))
    assert folder.ports == {}
    folder.write("a.yaml", service())
    found = folder.store.get(Service, "shop", "web")
    assert found is not None
    assert [each.ip for each in found.status.load_balancer.ingress] == ["192.0.2.1"]
    folder.state.forget(path)
    found = folder.store.get(Service, "shop", "web")
    assert found is not None
    assert found.status.load_balancer.ingress == ()


def test_a_status_for_a_kind_that_has_none() -> None:
    folder = Folder()
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nstatus: {}\n"
    folder.state.take(".status/a.yaml", read_documents(text, check=validate_status))
    assert folder.texts == ["DIR/.status/a.yaml:1: ConfigMap default/a: has no status (remove the file)"]
