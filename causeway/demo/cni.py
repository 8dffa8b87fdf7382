"""Attaching a pod as a container runtime does: run the installed plugins with the installed configuration.

Nothing here knows that the plugin is ours. CNI specification 1.1.0, sections 2 and 3.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causeway.demo import netns

TRY_LATER = 11
PATIENCE_S = 10.0
RETRY_S = 0.1


class AttachFailed(Exception):
    """A plugin refused, and asking again would not help."""


@dataclass(frozen=True)
class Attachment:
    """One pod's interface. `node_netns` is where the runtime itself runs."""

    node_netns: str
    container_id: str
    pod_netns: Path
    namespace: str
    pod: str

    def environment(self, command: str, bin_folder: Path) -> dict[str, str]:
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.container_id,
            "CNI_NETNS": str(self.pod_netns),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(bin_folder),
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.namespace};K8S_POD_NAME={self.pod};"
            f"K8S_POD_INFRA_CONTAINER_ID={self.container_id}",
        }


def plugin_config(conflist: Mapping[str, Any], plugin: Mapping[str, Any], previous: Any) -> dict[str, Any]:
    """What one plugin of the list gets on standard input (section 3, "Deriving runtime configuration")."""
    config = {key: value for key, value in plugin.items() if key != "capabilities"}
    config |= {"cniVersion": conflist["cniVersion"], "name": conflist["name"]}
    return config if previous is None else {**config, "prevResult": previous}


def address(result: Mapping[str, Any]) -> str:
    """The pod's IPv4 address in an ADD result."""
    for each in result.get("ips", ()):
        ip = str(each["address"]).partition("/")[0]
        if ":" not in ip:
            return ip
    raise AttachFailed(f"the plugin gave no IPv4 address: {json.dumps(result)}")


def read_conflist(folder: Path) -> dict[str, Any] | None:
    """The first configuration by name, as runtimes choose it; None while none is installed."""
    found = sorted(folder.glob("*.conflist"))
    return json.loads(found[0].read_text()) if found else None


@dataclass(frozen=True)
class Runtime:
    """The container runtime of one node, as far as the network is concerned."""

    bin_folder: Path
    conf_folder: Path

    async def add(self, attachment: Attachment) -> str:
        """Attach; the pod's address. Raises AttachFailed."""
        conflist = read_conflist(self.conf_folder)
        if conflist is None:
            raise AttachFailed(f"no *.conflist in {self.conf_folder}: the node's agent has not come so far")
        result: Any = None
        for plugin in conflist["plugins"]:
            result = await self.call("ADD", attachment, plugin_config(conflist, plugin, result))
        return address(result)

    async def delete(self, attachment: Attachment) -> None:
        """Detach. Raises AttachFailed."""
        conflist = read_conflist(self.conf_folder)
        for plugin in reversed(conflist["plugins"] if conflist else ()):
            assert conflist is not None
            await self.call("DEL", attachment, plugin_config(conflist, plugin, None))

    async def call(self, command: str, attachment: Attachment, config: dict[str, Any]) -> Any:
        """Run one plugin; its answer decoded, None if it printed none. "Try again later" (code 11) is tried again."""
        plugin = self.bin_folder / str(config["type"])
        argv = ["nsenter", f"--net={netns.NETNS / attachment.node_netns}", "--", str(plugin)]
        environment = attachment.environment(command, self.bin_folder)
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            done = await netns.run(argv, stdin=json.dumps(config), env=environment)
            if done.status == 0:
                return json.loads(done.out) if done.out.strip() else None
            error = decode_error(done.out)
            if error.get("code") != TRY_LATER or asyncio.get_running_loop().time() > deadline:
                said = f"{error.get('msg', '')} {error.get('details', '')}".strip() or done.err.strip()
                raise AttachFailed(f"{plugin.name} {command} for {attachment.namespace}/{attachment.pod}: {said}")
            await asyncio.sleep(RETRY_S)


def decode_error(out: str) -> dict[str, Any]:
    try:
        found = json.loads(out)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
