"""The image without Docker, base image or registry: made of this machine's own files.

    python -m deploy.image.from_scratch OUT.tar NAME:TAG [NAME:TAG ...]

For clusters that reach no registry, and for tests. What is inside is what the Dockerfile beside this puts inside: a
virtual environment below /opt/causeway, the interpreter it stands on, the programs the node agent runs, certificates of
the public authorities. The interpreter is the one that runs this, and it stays where it is on this machine.

Needs what `make venv` needs: a C compiler and the libraries' headers.
"""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.image.oci import CAP_NET_BIND_SERVICE, Layer, new_layer, write_image

TOP = Path(__file__).parent.parent.parent
SOURCES = ("pyproject.toml", "README.md", "causeway", "lb", "ingress", "bench")
PLUGIN_SOURCE = TOP / "lb/cni/native/causeway-cni.c"

HOME = "opt/causeway"
USER_ID = 101  # as in ingress-nginx's image
ENTRYPOINT = "/opt/causeway/bin/causeway"
PLUGIN = f"{HOME}/libexec/causeway-cni"
PROGRAMS = {"nft": "nftables", "conntrack": "conntrack"}
"""Programs the node agent runs -> Debian package."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

STDLIB_WITHOUT = (
    "__phello__", "config-3.11-x86_64-linux-gnu", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "site-packages", "test", "tests", "tkinter", "turtledemo",
)  # fmt: skip
"""What a server never imports; a third of the whole."""

TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/root:/sbin/nologin\ncauseway:x:{USER_ID}:{USER_ID}::/:/sbin/nologin\n",
    "etc/group": f"root:x:0:\ncauseway:x:{USER_ID}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    f"{HOME}/bin/causeway": "#!/opt/causeway/bin/python3\nfrom causeway.cli import main\n\nmain()\n",
}
CONFIG = {
    "Entrypoint": [ENTRYPOINT],
    "User": f"{USER_ID}:{USER_ID}",
    "WorkingDir": "/",
    "Env": ["PATH=/opt/causeway/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
}
"""The same as USER, ENTRYPOINT and ENV of the Dockerfile."""


class CannotBuild(Exception):
    """Something is missing on this machine, or a command failed; the text says what."""


def build(out: Path, names: Sequence[str], cache: Path) -> None:
    """Write the image to `out`. Raises CannotBuild.

    cache: a folder for layers, which are made again only when what is in them has changed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    write_image(out, names, [_system_layer(cache), _own_layer(cache)], CONFIG)


def _system_layer(cache: Path) -> Path:
    """Interpreter, programs and dependencies: all that stays when only our own code has changed."""
    requirements = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    recipe = "\n".join([Path(__file__).read_text(), sys.version, sys.base_prefix, *requirements])
    layer = cache / f"system-{_digest(recipe.encode())}.tar"
    if layer.exists():
        return layer
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        site = Path(scratch) / "site"
        _pip("install", "--target", str(site), "--only-binary=:all:", *requirements)
        made = Path(scratch) / "layer.tar"
        with new_layer(made) as files:
            _fill_system(files, site)
        _keep(made, layer)
    return layer


def _fill_system(files: Layer, site: Path) -> None:
    files.folder("tmp", 0o1777)
    for each in ("proc", "sys", "dev", "run", "etc"):
        files.folder(each)
    files.link("var/run", "/run")
    for path, text in TEXTS.items():
        files.text(path, text, 0o755 if "/bin/" in path else 0o644)
    files.file(str(CERTIFICATES).lstrip("/"), CERTIFICATES)
    for name, package in PROGRAMS.items():
        found = shutil.which(name)
        if found is None:
            raise CannotBuild(f"the program {name} is missing: apt-get install {package}")
        files.program(f"usr/sbin/{name}", Path(found))
    interpreter = Path(sysconfig.get_config_var("BINDIR")) / f"python{sysconfig.get_python_version()}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    files.program(str(interpreter).lstrip("/"), interpreter)
    files.tree(str(stdlib).lstrip("/"), stdlib, without=STDLIB_WITHOUT)
    files.text(f"{HOME}/pyvenv.cfg", f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
    files.file(f"{HOME}/bin/python3", interpreter, capability=CAP_NET_BIND_SERVICE)
    files.tree(_site_packages(), site, without=("bin",))
    files.libraries([*_extensions(stdlib / "lib-dynload"), *_extensions(site)])


def _own_layer(cache: Path) -> Path:
    """Our wheel and the CNI plugin."""
    sources = [each for name in SOURCES for each in _files(TOP / name)]
    recipe = b"\0".join(str(each.relative_to(TOP)).encode() + b"\0" + each.read_bytes() for each in sources)
    layer = cache / f"own-{_digest(Path(__file__).read_bytes() + recipe)}.tar"
    if layer.exists():
        return layer
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        # Of a copy: a build in place would take in what earlier builds have left in ./build.
        copy, site, plugin = (Path(scratch) / each for each in ("source", "site", "plugin"))
        for each in sources:
            target = copy / each.relative_to(TOP)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(each, target)
        _pip("wheel", "--no-deps", "--wheel-dir", scratch, str(copy))
        _pip("install", "--no-deps", "--target", str(site), *map(str, Path(scratch).glob("*.whl")))
        compile_plugin(plugin)
        made = Path(scratch) / "layer.tar"
        with new_layer(made) as files:
            files.tree(_site_packages(), site, without=("bin",))
            files.libraries(_extensions(site))
            files.file(PLUGIN, plugin)
        _keep(made, layer)
    return layer


def _keep(made: Path, layer: Path) -> None:
    """In place of layers of its kind that were made of something else."""
    for old in layer.parent.glob(f"{layer.name.partition('-')[0]}-*.tar"):
        old.unlink()
    made.replace(layer)


def compile_plugin(out: Path) -> None:
    """The CNI plugin for nodes that have no interpreter: one static executable. Raises CannotBuild."""
    _run("cc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(out), str(PLUGIN_SOURCE))


def _site_packages() -> str:
    return f"{HOME}/lib/python{sysconfig.get_python_version()}/site-packages"


def _extensions(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.so*"))


def _files(path: Path) -> Iterator[Path]:
    """The sources below a path, without what is built from them."""
    if path.is_file():
        yield path
        return
    for each in sorted(path.rglob("*")):
        built = each.suffix in (".so", ".pyc") or (each.suffix == ".c" and each.with_suffix(".pyx").exists())
        if each.is_file() and not built:
            yield each


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotBuild(f"the program {argv[0]} is missing") from None
    if done.returncode:
        raise CannotBuild(
            f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr[-3000:] or done.stdout[-3000:]}"
        )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        build(Path(sys.argv[1]).absolute(), sys.argv[2:], Path.home() / ".cache/causeway-image")
    except CannotBuild as error:
        sys.exit(str(error))
