"""The READMEs stay true: every path, command and flag they name exists."""

import re
from pathlib import Path

import click
import pytest

from causeway.cli import SUBCOMMANDS, main

TOP = Path(__file__).parent.parent
READMES = sorted(
    path
    for path in [TOP / "README.md", *TOP.glob("*/README.md"), *TOP.glob("*/*/README.md")]
    if ".venv" not in path.parts
)
ROOTS = ("causeway", "lb", "ingress", "bench", "deploy", "tests")

CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def words(path: Path) -> list[str]:
    """Everything in the file that is set as code, split at blanks."""
    text = path.read_text()
    pieces = CODE.findall(BLOCK.sub("", text)) + BLOCK.findall(text)
    return [word.strip("(),;:\"'") for piece in pieces for word in piece.split()]


def command_lines(path: Path) -> list[list[str]]:
    """Every `causeway ...` line set as code; continued lines are joined."""
    text = path.read_text()
    pieces = CODE.findall(BLOCK.sub("", text))
    for block in BLOCK.findall(text):
        pieces += block.replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+#.*", "", piece).split() for piece in pieces]
    return [line[1:] for line in found if len(line) > 1 and line[0].rsplit("/", 1)[-1] == "causeway"]


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def test_each_top_folder_has_one() -> None:
    missing = [root for root in ROOTS if not (TOP / root / "README.md").exists()]
    assert not missing, f"no README.md in {missing}"


@pytest.mark.parametrize("path", READMES, ids=name)
def test_paths_exist(path: Path) -> None:
    wrong = []
    for word in words(path):
        if re.fullmatch(r"[\w.-]+(/[\w.*-]+)+/?", word) and word.split("/")[0] in ROOTS:
            if not any(TOP.glob(word.rstrip("/"))):
                wrong.append(word)
        elif re.fullmatch(r"(\w+/)*\w+\.(py|pyx|pxi|pyi)", word) and not (
            (path.parent / word).exists() or any(path.parent.rglob(word.rsplit("/", 1)[-1]))
        ):
            wrong.append(word)
    assert not wrong, f"{name(path)} names {wrong}, which are not here"


@pytest.mark.parametrize("path", READMES, ids=name)
def test_commands_and_flags_exist(path: Path) -> None:
    wrong = []
    for line in command_lines(path):
        if line[0].startswith("-"):
            continue
        if line[0] not in SUBCOMMANDS:
            wrong.append(f"causeway {line[0]}")
            continue
        wrong += [f"causeway {line[0]} {flag}" for flag in unknown_flags(line)]
    assert not wrong, f"{name(path)} names {wrong}, which causeway does not know"


def unknown_flags(line: list[str]) -> list[str]:
    command = main.get_command(click.Context(main), line[0])
    assert command is not None
    while isinstance(command, click.Group) and len(line) > 1 and line[1] in command.commands:
        command, line = command.commands[line[1]], line[1:]
    known = {"-h", "--help"} | {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    flags = [word.strip("[]()|").split("=")[0] for word in line[1:]]
    return [flag for flag in flags if re.fullmatch(r"--?[a-z][a-z-]*", flag) and flag not in known]


@pytest.mark.parametrize("path", READMES, ids=name)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)", path.read_text())) | set(
        re.findall(r"^make ([a-z0-9-]+)", path.read_text(), re.MULTILINE)
    )
    assert named <= targets, f"{name(path)} names make {named - targets}"
