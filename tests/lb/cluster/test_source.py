from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lb.cluster.manifests import ManifestFolder
from lb.cluster.objects import Service
from lb.cluster.source import open_source, source_options
from lb.cluster.status import ApiStatus, FolderStatus


@click.command()
@source_options
def show(manifests: Path | None, kubeconfig: Path | None) -> None:
    opened = open_source(manifests, kubeconfig, kinds=[Service])
    click.echo(f"{type(opened.source).__name__} {type(opened.status).__name__}")


def outcome(*flags: str) -> tuple[int, str]:
    done = CliRunner().invoke(show, flags)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


def test_a_folder(tmp_path: Path) -> None:
    assert outcome("-f", str(tmp_path)) == (0, "ManifestFolder FolderStatus")
    opened = open_source(tmp_path, None)
    assert isinstance(opened.source, ManifestFolder)
    assert isinstance(opened.status, FolderStatus)
    assert not opened.source.synced.is_set()


def test_a_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        "clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: k}}]\n"
    )
    assert outcome("--kubeconfig", str(file)) == (0, "ApiServer ApiStatus")
    assert isinstance(open_source(None, file).status, ApiStatus)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["-f", "nowhere"], "-f nowhere does not exist; create it, or name another with -f"),
        (["-f", __file__], "is not a folder; name the folder that holds it"),
        (["--kubeconfig", "nowhere"], "--kubeconfig nowhere cannot be read: No such file or directory"),
        (["--kubeconfig", __file__], "--kubeconfig"),
        (["-f", ".", "--kubeconfig", "x"], "-f and --kubeconfig exclude each other"),
        ([], "no source of objects: not in a cluster"),
        ([], "Give -f DIR (a folder of manifests) or --kubeconfig FILE, or run in a pod with a service account"),
    ],
)
def test_wrong_flags_are_usage_errors(flags: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    code, text = outcome(*flags)
    assert code == 2
    assert says in text
