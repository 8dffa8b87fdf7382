"""Getting the plugin onto the node: the executable first, its configuration last.

The container runtime takes the node's network for ready as soon as there is a configuration, so that one is written
when the agent can answer. Both appear whole or not at all.
"""

import json
import os
import sys
from pathlib import Path

from lb.cni import plugin

PLUGIN_NAME = "causeway-cni"
CONFLIST_NAME = "10-causeway.conflist"
NETWORK_NAME = "causeway"

CNI_VERSION = "1.0.0"
"""What the configuration asks the runtime to speak.

Not 1.1.0, though the plugin speaks it: containerd from 2.0.1 would run STATUS every 5 s and call the whole node not
ready while the agent is being upgraded, upon which Kubernetes takes every pod of the node out of its Services. With
1.0.0 an absent agent only makes new pods wait (code 11), which is all that is true.
"""


def plugin_path(folder: Path) -> Path:
    return folder / PLUGIN_NAME


def plugin_text() -> str:
    """The executable: run by the agent's own interpreter, without site-packages (20 ms instead of 60).

    Raises OSError when the interpreter's path cannot stand in the first line of a script (execve(2)).
    """
    interpreter = os.path.realpath(sys.executable)
    if " " in interpreter or len(interpreter) > 200:
        raise OSError(f"{interpreter!r} cannot stand in the first line of a script: it is too long or contains a blank")
    return f"#!{interpreter} -IS\n{Path(plugin.__file__).read_text()}"


def conflist_path(folder: Path) -> Path:
    return folder / CONFLIST_NAME


def conflist_text(socket: Path) -> str:
    """The configuration that names the plugin and the agent's socket."""
    plugin_object = {"type": PLUGIN_NAME, "socket": str(socket), "capabilities": {"portMappings": True}}
    network = {"cniVersion": CNI_VERSION, "name": NETWORK_NAME, "plugins": [plugin_object]}
    return json.dumps(network, indent=2) + "\n"
