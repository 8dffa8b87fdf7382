"""Results as Markdown tables, for README files and issues. Pure."""

import re
from collections.abc import Mapping
from typing import Any

PEERS = ("causeway", "nginx", "haproxy", "envoy", "caddy", "floor")


def peers(result: dict[str, Any]) -> str:
    """CPU per request relative to the reference, quartiles in brackets."""
    names = [name for name in PEERS if any(name in work.get("peers", {}) for work in result["works"].values())]
    lines = ["| work | " + " | ".join(names) + " | rounds |", "|---|" + "---|" * (len(names) + 1)]
    for name, work in result["works"].items():
        cells = [_cell(work, peer) for peer in names]
        kept = next((each["rounds"] for each in work.get("peers", {}).values()), 0)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {kept} |")
    return "\n".join(lines)


def _cell(work: dict[str, Any], peer: str) -> str:
    found = work.get("peers", {}).get(peer)
    if found is None:
        return "failed" if peer in work["errors"] or "run" in work["errors"] else "–"
    low, high = found["ratio_quartiles"]
    return f"**{found['ratio']:.2f}** ({low:.2f}-{high:.2f}), {found['cpu_us']:.0f} µs"


def scenarios(result: dict[str, Any]) -> str:
    lines = ["| scenario | figure | value |", "|---|---|---|"]
    for name, entry in result["scenarios"].items():
        missing = entry.get("skipped") or entry.get("error")
        if missing:
            lines.append(f"| {name} | not measured | {missing} |")
        for what, value in entry.get("figures", {}).items():
            lines.append(
                f"| {name} | {what} | {value:,} |"
                if isinstance(value, int | float)
                else f"| {name} | {what} | {value} |"
            )
    return "\n".join(lines)


def load(result: dict[str, Any]) -> str:
    latencies = result["latency_ms"]
    head = "| answers/s | answers | errors | " + " | ".join(f"{name} ms" for name in latencies) + " |"
    values = [f"{result['throughput']:,.0f}", f"{result['requests']:,}", str(sum(result["errors"].values()))]
    values += [f"{value:.3f}" for value in latencies.values()]
    return "\n".join([head, "|---" * len(values) + "|", "| " + " | ".join(values) + " |"])


def table(result: dict[str, Any]) -> str:
    """The table of any result."""
    return {"peers": peers, "load": load, "scenarios": scenarios}[result["kind"]](result)


_PLACE = re.compile(r"(<!-- results: (?P<name>[\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
EMPTY = "No reference run is kept here yet.\n"


def filled(text: str, results: Mapping[str, dict[str, Any]]) -> str:
    """A text with the table of each result between its marks: `<!-- results: NAME -->` and `<!-- end -->`."""

    def replace(match: re.Match[str]) -> str:
        result = results.get(match["name"])
        if result is None:
            return f"{match[1]}\n{EMPTY}\n{match[3]}"
        return f"{match[1]}\n{about(result)}\n\n{table(result)}\n\n{match[3]}"

    return _PLACE.sub(replace, text)


def about(result: dict[str, Any]) -> str:
    """When, on what and with which versions a result was measured."""
    facts = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.get("versions", {}).items()))
    where = (
        f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']}"
    )
    return f"{where}; {versions or 'causeway ' + facts['causeway']}."
