"""The CNI protocol as values: a call in, a result or a numbered error out. Pure.

Source: CNI specification 1.1.0 and its predecessors 0.3.1, 0.4.0, 1.0.0 (containernetworking/cni, SPEC.md); where that
is silent, what upstream's library (pkg/skel, pkg/types) does.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS = {"ADD": "0.3.1", "DEL": "0.3.1", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""Command -> the first version that has it. VERSION never reaches the agent."""

# Error codes of the specification; 8 and 999 are the library's.
BAD_VERSION, UNSUPPORTED_FIELD, UNKNOWN_CONTAINER, BAD_ENVIRONMENT, INPUT_OUTPUT, UNDECODABLE, BAD_CONFIG = range(1, 8)
BAD_NETNS, TRY_LATER, NOT_AVAILABLE, INTERNAL = 8, 11, 50, 999
# Our own start at 100, as the specification asks.
ALREADY_ATTACHED, POOL_EXHAUSTED, NETWORK_FAILED, CHECK_FAILED = 100, 101, 102, 103

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_IFNAME_BYTES_MAX = 15


class CniError(Exception):
    """What the runtime is told: a numbered code, a message, and details (what to do)."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def body(self, version: str) -> str:
        """The error object; `version` is the request's, or the newest when that one is not known here."""
        said = {"cniVersion": version, "code": self.code, "msg": self.message, "details": self.details}
        return json.dumps(said if self.details else {k: v for k, v in said.items() if k != "details"})


@dataclass(frozen=True, slots=True, order=True)
class Attachment:
    """What a call is about: one interface of one container."""

    container: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.container}/{self.ifname}"


@dataclass(frozen=True, slots=True)
class PortMapping:
    """One entry of runtimeConfig.portMappings: a port of the node that leads to a port of the container."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One validated call. `netns` is "" where the command does not need one and the runtime gave none."""

    command: str
    version: str
    network: str
    attachment: Attachment = Attachment("", "")
    netns: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    previous: "Result | None" = None
    """Of CHECK: what ADD has returned."""
    valid: frozenset[Attachment] = frozenset()
    port_mappings: tuple[PortMapping, ...] = ()
    """Of ADD."""

    @property
    def pod(self) -> str:
        """ "namespace/name" if the runtime told which pod this is, "" otherwise."""
        name = self.arguments.get("K8S_POD_NAME", "")
        return f"{self.arguments.get('K8S_POD_NAMESPACE', '')}/{name}" if name else ""


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """`address` with its prefix length, "10.1.0.5/32"; `interface` is an index into Result.interfaces."""

    address: str
    gateway: str = ""
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    dst: str
    gw: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    interfaces: tuple[Interface, ...] = ()
    ips: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()

    def body(self, version: str) -> str:
        """The success object in the words of `version`: `ips.version` up to 0.4.0, `interfaces.mtu` from 1.1.0."""
        interfaces = [
            {"name": each.name, "mac": each.mac}
            | ({"sandbox": each.sandbox} if each.sandbox else {})
            | ({"mtu": each.mtu} if each.mtu and version >= "1.1.0" else {})
            for each in self.interfaces
        ]
        ips = []
        for each in self.ips:
            said: dict[str, Any] = {"address": each.address}
            if version < "1.0.0":
                said["version"] = str(ipaddress.ip_interface(each.address).version)
            if each.gateway:
                said["gateway"] = each.gateway
            if each.interface is not None:
                said["interface"] = each.interface
            ips.append(said)
        routes = [{"dst": each.dst} | ({"gw": each.gw} if each.gw else {}) for each in self.routes]
        return json.dumps({"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": routes, "dns": {}})


def version_for_errors(stdin: str) -> str:
    """The version in which to answer when the call itself is refused."""
    try:
        said = json.loads(stdin).get("cniVersion")
    except (ValueError, AttributeError):
        return VERSIONS[-1]
    return said if said in VERSIONS else VERSIONS[-1]


def parse_call(variables: Mapping[str, str], stdin: str) -> Call:
    """Validate the runtime's environment variables and its configuration. Raises CniError.

    That required variables are there at all has been seen to by the executable; here is what they may contain.
    """
    command = variables.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(
            BAD_ENVIRONMENT, f"CNI_COMMAND {command!r} is not known", f"known: {', '.join(COMMANDS)}, VERSION"
        )
    about_container = command in ("ADD", "DEL", "CHECK")
    if about_container:
        _check_variables(variables, command)
    config = _decode(stdin)
    version = _version(config, command)
    network = config.get("name")
    if not isinstance(network, str) or not _ID.fullmatch(network):
        raise CniError(BAD_CONFIG, f"name: {network!r} is not a network name", f"it must match {_ID.pattern}")
    if command == "ADD" and config.get("prevResult") is not None:
        raise CniError(BAD_CONFIG, "prevResult: this plugin makes the interface, it must be the first of its chain")
    if command == "CHECK" and config.get("prevResult") is None:
        raise CniError(BAD_CONFIG, "prevResult is missing", "CHECK compares with what ADD has returned")
    # DEL reads as little as it can: what has been attached must go, whatever has become of the configuration.
    return Call(
        command=command,
        version=version,
        network=network,
        attachment=Attachment(variables.get("CNI_CONTAINERID", ""), variables.get("CNI_IFNAME", "")),
        netns=variables.get("CNI_NETNS", ""),
        arguments=_arguments(variables.get("CNI_ARGS", "")) if about_container else {},
        previous=parse_result(config["prevResult"]) if command == "CHECK" else None,
        valid=_valid_attachments(config) if command == "GC" else frozenset(),
        port_mappings=_port_mappings(config) if command == "ADD" else (),
    )


def parse_result(said: object) -> Result:
    """Read a prevResult of any version from 0.3.1. Raises CniError when it is not one."""
    if not isinstance(said, dict):
        raise CniError(BAD_CONFIG, "prevResult is not an object")
    try:
        return Result(
            tuple(
                Interface(each["name"], each.get("mac", ""), each.get("sandbox", ""), int(each.get("mtu", 0)))
                for each in said.get("interfaces") or ()
            ),
            tuple(
                Address(str(ipaddress.ip_interface(each["address"])), each.get("gateway", ""), each.get("interface"))
                for each in said.get("ips") or ()
            ),
            tuple(Route(each["dst"], each.get("gw", "")) for each in said.get("routes") or ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CniError(BAD_CONFIG, f"prevResult cannot be read: {type(error).__name__}: {error}") from None


def _check_variables(variables: Mapping[str, str], command: str) -> None:
    wrong = []
    container, ifname = variables.get("CNI_CONTAINERID", ""), variables.get("CNI_IFNAME", "")
    if not _ID.fullmatch(container):
        wrong.append(f"CNI_CONTAINERID {container!r} must match {_ID.pattern}")
    # What the kernel refuses as an interface's name (dev_valid_name).
    if not 0 < len(ifname.encode()) <= _IFNAME_BYTES_MAX:
        wrong.append(f"CNI_IFNAME {ifname!r} must have 1 to {_IFNAME_BYTES_MAX} bytes")
    elif ifname in (".", "..") or re.search(r"[/:\s]", ifname):
        wrong.append(f"CNI_IFNAME {ifname!r} must not be . or .. nor contain '/', ':' or blanks")
    if command in ("ADD", "CHECK") and not variables.get("CNI_NETNS"):
        wrong.append("CNI_NETNS is missing")
    if wrong:
        raise CniError(BAD_ENVIRONMENT, "; ".join(wrong))


def _decode(stdin: str) -> dict[str, Any]:
    try:
        config = json.loads(stdin)
    except ValueError as error:
        raise CniError(UNDECODABLE, f"the network configuration is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CniError(UNDECODABLE, "the network configuration is not a JSON object")
    return config


def _version(config: Mapping[str, Any], command: str) -> str:
    version = config.get("cniVersion") or "0.1.0"
    if not isinstance(version, str):
        raise CniError(BAD_CONFIG, f"cniVersion: {version!r} is not text")
    if version not in VERSIONS:
        raise CniError(BAD_VERSION, f"cniVersion {version!r} is not supported", f"supported: {', '.join(VERSIONS)}")
    if version < COMMANDS[command]:
        raise CniError(BAD_VERSION, f"{command} needs cniVersion {COMMANDS[command]} or newer, not {version}")
    return version


def _arguments(said: str) -> dict[str, str]:
    """CNI_ARGS: "K=V;K=V"."""
    pairs = [each.partition("=") for each in said.split(";") if each]
    for name, equals, _ in pairs:
        if not equals:
            raise CniError(BAD_ENVIRONMENT, f"CNI_ARGS: {name!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _valid_attachments(config: Mapping[str, Any]) -> frozenset[Attachment]:
    said = config.get("cni.dev/valid-attachments")
    # An empty list means that none is valid; a missing one must never be read so.
    if not isinstance(said, list):
        raise CniError(BAD_CONFIG, "cni.dev/valid-attachments: GC needs the list of attachments that are in use")
    try:
        return frozenset(Attachment(str(each["containerID"]), str(each["ifname"])) for each in said)
    except (KeyError, TypeError):
        raise CniError(BAD_CONFIG, "cni.dev/valid-attachments: each needs containerID and ifname") from None


def _port_mappings(config: Mapping[str, Any]) -> tuple[PortMapping, ...]:
    said = (config.get("runtimeConfig") or {}).get("portMappings") or ()
    found = []
    for number, each in enumerate(said):
        place = f"runtimeConfig.portMappings[{number}]"
        try:
            # containerd writes HostPort where cri-o writes hostPort; upstream's Go library takes any case.
            fields = {name.lower(): value for name, value in each.items()}
            mapping = PortMapping(
                int(fields["hostport"]),
                int(fields["containerport"]),
                str(fields.get("protocol") or "tcp").lower(),
                str(fields.get("hostip") or ""),
            )
        except KeyError as error:
            raise CniError(BAD_CONFIG, f"{place}: no {error.args[0]}; it needs hostPort and containerPort") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise CniError(BAD_CONFIG, f"{place}: {type(error).__name__}: {error}") from None
        if mapping.host_ip and not _is_address(mapping.host_ip):
            raise CniError(BAD_CONFIG, f"{place}: hostIP {mapping.host_ip!r} is not an address")
        if not 0 < mapping.host_port < 65536 or not 0 < mapping.container_port < 65536:
            raise CniError(BAD_CONFIG, f"{place}: ports must be 1 to 65535")
        if mapping.protocol not in ("tcp", "udp", "sctp"):
            raise CniError(BAD_CONFIG, f"{place}: protocol {mapping.protocol!r} is not tcp, udp or sctp")
        found.append(mapping)
    return tuple(found)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
