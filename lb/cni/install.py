"""Getting the plugin onto the node: the executables first, the configuration last.

The container runtime takes the node's network for ready as soon as there is a configuration, so that one is written
when the agent can answer. Both appear whole or not at all.
"""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from lb.cni import loopback, plugin

PLUGIN_NAME = "causeway-cni"
LOOPBACK_NAME = "loopback"
CONFLIST_NAME = "10-causeway.conflist"
NETWORK_NAME = "causeway"

_LOOPBACK_MARKS = (b"The plugin `loopback` of Causeway", b"the node agent does not answer on")
"""What ours contain, the script and the native executable."""

CNI_VERSION = "1.0.0"
"""What the configuration asks the runtime to speak.

Not 1.1.0, though the plugin speaks it: containerd from 2.0.1 would run STATUS every 5 s and call the whole node not
ready while the agent is being upgraded, upon which Kubernetes takes every pod of the node out of its Services. With
1.0.0 an absent agent only makes new pods wait (code 11), which is all that is true.
"""


class File(NamedTuple):
    """What is to be on the node."""

    path: Path
    content: bytes
    mode: int


def files(bin_dir: Path, conf_dir: Path, socket: Path, native: Path | None = None) -> list[File]:
    """In the order of writing: the runtime calls the executables as soon as it sees the configuration.

    native: an executable that is both plugins by its name (native/causeway-cni.c), instead of scripts that need this
    interpreter where the container runtime runs.
    Raises OSError as `plugin_text` does, and when something cannot be read.
    """
    plugins = {PLUGIN_NAME: plugin_text, LOOPBACK_NAME: loopback_text}
    if has_own_loopback(bin_dir):
        del plugins[LOOPBACK_NAME]
    found = [
        File(bin_dir / name, native.read_bytes() if native else text().encode(), 0o755)
        for name, text in plugins.items()
    ]
    found.append(File(conf_dir / CONFLIST_NAME, conflist_text(socket).encode(), 0o644))
    return found


def has_own_loopback(folder: Path) -> bool:
    """Whether somebody else has put a `loopback` there: a distribution's package does; that one stays."""
    try:
        with open(folder / LOOPBACK_NAME, "rb") as file:
            content = file.read()
            return not any(mark in content for mark in _LOOPBACK_MARKS)
    except FileNotFoundError:
        return False


def plugin_text() -> str:
    """The executable: run by the agent's own interpreter, without site-packages (20 ms instead of 60).

    Raises OSError when the interpreter's path cannot stand in the first line of a script (execve(2)).
    """
    return _script(plugin.__file__)


def loopback_text() -> str:
    """The executable containerd calls for lo. Raises OSError as `plugin_text` does."""
    return _script(loopback.__file__)


def _script(source: str) -> str:
    interpreter = os.path.realpath(sys.executable)
    if " " in interpreter or len(interpreter) > 200:
        raise OSError(f"{interpreter!r} cannot stand in the first line of a script: it is too long or contains a blank")
    return f"#!{interpreter} -IS\n{Path(source).read_text()}"


def conflist_text(socket: Path) -> str:
    """The configuration that names the plugin and the agent's socket."""
    plugin_object = {"type": PLUGIN_NAME, "socket": str(socket), "capabilities": {"portMappings": True}}
    network = {"cniVersion": CNI_VERSION, "name": NETWORK_NAME, "plugins": [plugin_object]}
    return json.dumps(network, indent=2) + "\n"
