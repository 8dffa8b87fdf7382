"""The executable the container runtime calls: pass the call to the node agent, print its answer.

The runtime waits for this process at every Pod start and stop, so it imports nothing but a little of the standard
library (20 ms with `python -I -S`), and nothing of ours: the agent copies this very file into the runtime's folder of
plugins, where no package of ours need be. All state and all work are in the agent (lb/cni/server.py, lb/agent.py).

To the agent: each variable as NAME=VALUE and a NUL, one more NUL, the configuration as it came. From the agent: the
exit status as one digit, what to print, and the end of a line, without which the answer is not whole.

Where the agent runs in a container the node has none of its interpreters: native/causeway-cni.c says the same in C.
Source: CNI specification 1.1.0, section 2 "Execution protocol".
"""

import json
import os
import socket
import sys

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
NEEDED = {
    "CNI_CONTAINERID": {"ADD", "CHECK", "DEL"},
    "CNI_NETNS": {"ADD", "CHECK"},
    "CNI_IFNAME": {"ADD", "CHECK", "DEL"},
    "CNI_PATH": {"ADD", "CHECK", "DEL", "GC", "STATUS"},
}
"""Which command needs which variable, as upstream's library (pkg/skel) enforces it."""

AGENT_TIMEOUT_SECONDS = 60.0
VERSION_UNKNOWN = "1.0.0"  # what an error says when the configuration, and with it the version to speak, was not read
ENVIRONMENT, INPUT_OUTPUT, UNDECODABLE, BAD_CONFIG, TRY_LATER = 4, 5, 6, 7, 11


class Failed(Exception):
    """(code, message, details) of the specification's error object."""


def main() -> int:
    """Answer one call; the exit status. The answer, an error too, goes to standard output."""
    command = os.environ.get("CNI_COMMAND", "")
    version = VERSION_UNKNOWN
    try:
        # VERSION first: it must not need standard input, a configuration or an agent.
        if command == "VERSION":
            return answer(0, json.dumps({"cniVersion": VERSIONS[-1], "supportedVersions": VERSIONS}))
        require_variables(command)
        stdin = read_stdin()
        config = decode(stdin)
        version = str(config.get("cniVersion") or VERSION_UNKNOWN)
        path = config.get("socket")
        if not isinstance(path, str) or not path:
            raise Failed(BAD_CONFIG, 'the plugin\'s configuration has no "socket"', "it names the node agent's socket")
        return answer(*ask_agent(path, stdin))
    except Failed as failed:
        code, message, details = failed.args
        return answer(1, json.dumps({"cniVersion": version, "code": code, "msg": message, "details": details}))


def answer(status: int, text: str) -> int:
    if text:
        sys.stdout.write(text + "\n")
    return status


def require_variables(command: str) -> None:
    missing = [name for name, commands in NEEDED.items() if command in commands and not os.environ.get(name)]
    if not command:
        missing.insert(0, "CNI_COMMAND")
    if missing:
        raise Failed(ENVIRONMENT, f"required environment variables missing: {', '.join(missing)}", "")


def read_stdin() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise Failed(INPUT_OUTPUT, f"standard input cannot be read: {error}", "") from None


def decode(stdin: bytes) -> "dict[str, object]":
    try:
        config = json.loads(stdin)
    except ValueError as error:
        raise Failed(UNDECODABLE, f"the network configuration on standard input is not JSON: {error}", "") from None
    if not isinstance(config, dict):
        raise Failed(UNDECODABLE, "the network configuration on standard input is not a JSON object", "")
    return config


def ask_agent(path: str, stdin: bytes) -> "tuple[int, str]":
    """Send the call; the agent's (exit status, what to print). No answer is code 11: the runtime tries again."""
    variables = b"".join(name + b"=" + value + b"\0" for name, value in os.environb.items() if name.startswith(b"CNI_"))
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(AGENT_TIMEOUT_SECONDS)
            agent.connect(path)
            agent.sendall(variables + b"\0" + stdin)
            agent.shutdown(socket.SHUT_WR)
            pieces = []
            while piece := agent.recv(65536):
                pieces.append(piece)
        said = b"".join(pieces).decode()
        if said[:1] not in ("0", "1") or not said.endswith("\n"):
            raise ValueError("it ended in the middle of its answer")
        return int(said[0]), said[1:-1]
    except (OSError, ValueError) as error:
        raise Failed(
            TRY_LATER,
            f"the node agent does not answer on {path} ({error}); trying again later may help",
            "the agent is `causeway node`; is it running on this node, with this run folder?",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
