"""A result -> the sections of the page: headline, tables and plots. Pure."""

from collections.abc import Sequence
from html import escape
from typing import Any

from hdrh.histogram import HdrHistogram

from bench.report import svg
from bench.report.svg import Bar, Line

COLOURS = {"causeway": 0, "nginx": 1, "haproxy": 2, "envoy": 3, "caddy": 4, "floor": 5}
QUANTILES = (0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999)


def of_result(name: str, result: dict[str, Any]) -> str:
    """All sections of one result file."""
    kind = {"peers": peers, "load": load, "scenarios": scenarios}.get(result["kind"])
    if kind is None:
        raise ValueError(f"{name}: no page can be made of a result of kind {result['kind']!r}")
    return f"<section><h2>{escape(name)}</h2>{machine(result.get('machine', {}))}{kind(result)}</section>"


def machine(facts: dict[str, Any]) -> str:
    told = [f"{key} {value}" for key, value in facts.items() if key not in ("cpu", "date", "cores")]
    first = f"{facts.get('date', '')} · {facts.get('cpu', '')} · {facts.get('cores', '?')} cores"
    return f'<p class="machine">{escape(" · ".join([first, *told]))}</p>' if facts else ""


# -- peers


def peers(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.get("versions", {}).items()))
    intro = (
        "<p>CPU time of the proxy process per request, as a ratio to the reference's in the same round: bars are "
        f"medians, whiskers quartiles. Less is better. {escape(versions)}.</p>"
    )
    return intro + peers_table(result) + "".join(work(name, each) for name, each in result["works"].items())


def peers_table(result: dict[str, Any]) -> str:
    names = [name for name in COLOURS if any(name in work.get("peers", {}) for work in result["works"].values())]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for name, work in result["works"].items():
        best = min((each["ratio"] for peer, each in work.get("peers", {}).items() if peer != "floor"), default=0)
        cells = []
        for peer in names:
            found = work.get("peers", {}).get(peer)
            if found is None:
                cells.append('<td class="none">failed</td>' if peer in work["errors"] else '<td class="none">–</td>')
            else:
                least = ' class="best"' if found["ratio"] == best and peer != "floor" else ""
                cells.append(f"<td{least}>{found['ratio']:.2f}</td>")
        rows.append(f'<tr><th><a href="#{escape(name)}">{escape(name)}</a></th>{"".join(cells)}</tr>')
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def work(name: str, entry: dict[str, Any]) -> str:
    found: dict[str, Any] = entry.get("peers", {})
    parts = [f'<article id="{escape(name)}"><h3>{escape(name)}</h3><p>{escape(entry["about"])}</p>']
    for peer, why in entry["errors"].items():
        parts.append(f'<p class="problem">not measured: {escape(peer)}: {escape(why)}</p>')
    if found:
        order = sorted(found, key=lambda peer: found[peer]["ratio"])
        values = [_ratio_bar(peer, found[peer]) for peer in order]
        parts.append('<div class="plots"><figure><figcaption>CPU per request</figcaption>')
        parts.append(svg.bars(f"CPU per request, {name}", f"ratio to {entry['reference']}", values, 1.0))
        parts.append("</figure><figure><figcaption>Latency by percentile, as fast as each is answered</figcaption>")
        parts.append(latency({peer: found[peer].get("histogram_us", "") for peer in found}))
        parts.append("</figure>" + rounds(found) + "</div>" + details(found, order, entry))
    return "".join(parts) + "</article>"


def _ratio_bar(peer: str, found: dict[str, Any]) -> Bar:
    low, high = found["ratio_quartiles"]
    label = f"{found['ratio']:.2f} · {found['cpu_us']:,.{0 if found['cpu_us'] >= 100 else 1}f} µs"
    return Bar(peer, found["ratio"], low, high, COLOURS.get(peer, 6), label, mark=peer == "causeway")


def rounds(found: dict[str, Any]) -> str:
    """Throughput and memory, round by round."""
    made = ""
    for field, title in (("requests_per_second", "requests/s"), ("memory_mib", "memory, MiB")):
        series = [
            Line(
                peer,
                [(number + 1, each[field]) for number, each in enumerate(figures["samples"])],
                COLOURS.get(peer, 6),
            )
            for peer, figures in found.items()
            if figures.get("samples")
        ]
        if not series or len(series[0].points) < 2:
            continue
        x = svg.whole("round", len(series[0].points))
        y = svg.linear(title, [point[1] for line in series for point in line.points])
        made += (
            f"<figure><figcaption>{title} by round</figcaption>{svg.lines(title, x, y, series, height=260)}</figure>"
        )
    return made


def details(found: dict[str, Any], order: Sequence[str], entry: dict[str, Any]) -> str:
    head = ("", "µs/request", "least", "ratio", "user", "requests/s", "p99 ms", "MiB")
    rows = "".join(
        f"<tr><th>{escape(peer)}</th><td>{each['cpu_us']:.1f}</td><td>{each['cpu_us_min']:.1f}</td>"
        f"<td>{each['ratio']:.2f}</td><td>{each['user_share']:.0%}</td><td>{each['requests_per_second']:,}</td>"
        f"<td>{each['p99_ms']:.2f}</td><td>{each['memory_mib']:.1f}</td></tr>"
        for peer in order
        for each in [found[peer]]
    )
    kept = found[order[0]]["rounds"]
    told = f"{kept} rounds, {entry.get('rejected', 0)} rejected because others used the machine"
    return (
        f'<details><summary>{told}</summary><div class="wide"><table><tr>'
        + "".join(f"<th>{each}</th>" for each in head)
        + f"</tr>{rows}</table></div></details>"
    )


# -- load


def load(result: dict[str, Any]) -> str:
    asked, latencies = result["asked"], result["latency_ms"]
    loop = f"open loop, {asked['arrivals']}" if asked["mode"] == "open" else "closed loop"
    tiles = {
        "answers/s": f"{result['throughput']:,.0f}",
        "answers": f"{result['requests']:,}",
        "errors": f"{sum(result['errors'].values()):,}",
        "p50": f"{latencies['p50']:.3g} ms",
        "p99": f"{latencies['p99']:.3g} ms",
        "p99.9": f"{latencies['p99.9']:.3g} ms",
    }
    how = f"{loop}, {asked['connections']} connections, {asked['duration_seconds']:g} s"
    parts = [
        f"<p>{escape(asked['target'])}: {how}</p>",
        '<dl class="tiles">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in tiles.items()) + "</dl>",
    ]
    if result["errors"]:
        told = ", ".join(f"{name} {count:,}" for name, count in result["errors"].items())
        parts.append(f'<p class="problem">errors: {escape(told)}</p>')
    parts.append('<div class="plots"><figure><figcaption>Latency by percentile</figcaption>')
    parts.append(latency({"": result["histogram_us"]}) + "</figure>")
    for fields, title, log in (
        ({"throughput": "answers/s"}, "answers/s", False),
        ({"p50_ms": "p50", "p99_ms": "p99"}, "latency, ms", True),
        ({"memory_mib": "memory"}, "memory of the watched process, MiB", False),
        ({"cpu": "cores"}, "CPU of the watched process, cores", False),
    ):
        parts.append(over_time(result["timeline"], fields, title, log))
    return "".join(parts) + "</div>"


def over_time(timeline: Sequence[dict[str, Any]], fields: dict[str, str], title: str, log: bool) -> str:
    series = [
        Line(
            name,
            [(point["at"], point[field]) for point in timeline if point.get(field) or (field in point and not log)],
            number,
        )
        for number, (field, name) in enumerate(fields.items())
    ]
    values = [point[1] for line in series for point in line.points]
    if len(values) < 2:
        return ""
    x = svg.linear("seconds", [point["at"] for point in timeline], tight=True)
    y = svg.logarithmic(title, values) if log else svg.linear(title, values)
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg.lines(title, x, y, series, height=260)}</figure>"


def latency(histograms: dict[str, str]) -> str:
    """Latency by percentile: nines to the right, logarithms upwards."""
    series = []
    for name, text in histograms.items():
        if not text:
            continue
        recorded = HdrHistogram.decode(text)
        total = recorded.get_total_count()
        # Beyond the last percentile that still means some answers there is only the slowest one.
        shown = [each for each in QUANTILES if total * (1 - each / 100) >= 3 or each == 0]
        points = [(each, max(recorded.get_value_at_percentile(each), 1) / 1000) for each in shown]
        series.append(Line(name, points, COLOURS.get(name, 0)))
    if not series:
        return "<p>no latencies</p>"
    x = svg.percentiles(max(line.points[-1][0] for line in series))
    y = svg.logarithmic("ms", [point[1] for line in series for point in line.points])
    return svg.lines("latency by percentile", x, y, series)


# -- scenarios


def scenarios(result: dict[str, Any]) -> str:
    parts = []
    for name, entry in result["scenarios"].items():
        parts.append(f'<article id="{escape(name)}"><h3>{escape(name)}</h3><p>{escape(entry["about"])}</p>')
        if "skipped" in entry:
            parts.append(f'<p class="problem">skipped: {escape(entry["skipped"])}</p>')
        if "error" in entry:
            parts.append(f'<p class="problem">failed: {escape(entry["error"])}</p>')
        rows = "".join(
            f"<tr><th>{escape(what)}</th><td>{escape(figure_text(value))}</td></tr>"
            for what, value in entry.get("figures", {}).items()
        )
        parts.append(f'<div class="wide"><table class="figures">{rows}</table></div>' if rows else "")
        if entry.get("timeline"):
            parts.append(
                '<div class="plots">' + over_time(entry["timeline"], {"throughput": "answers/s"}, "answers/s", False)
            )
            parts.append(over_time(entry["timeline"], {"p50_ms": "p50", "p99_ms": "p99"}, "latency, ms", True))
            parts.append(
                over_time(entry["timeline"], {"memory_mib": "memory"}, "memory of the proxy, MiB", False) + "</div>"
            )
        parts.append("</article>")
    return "".join(parts)


def figure_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


# -- several peers results


def versions(results: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """How Causeway's ratio has changed over several peers results, oldest first."""
    measured = sorted((each for each in results if each[1]["kind"] == "peers"), key=lambda each: _when(each[1]))
    if len(measured) < 2:
        return ""
    works = list(dict.fromkeys(name for _, result in measured for name in result["works"]))
    series = []
    for number, name in enumerate(works):
        points = [
            (float(position + 1), result["works"][name]["peers"]["causeway"]["ratio"])
            for position, (_, result) in enumerate(measured)
            if "causeway" in result["works"].get(name, {}).get("peers", {})
        ]
        if points:
            series.append(Line(name, points, number % 8))
    if not series:
        return ""
    x = svg.whole("result", len(measured))
    y = svg.linear("ratio to the reference", [point[1] for line in series for point in line.points] + [1.0])
    listed = "".join(f"<li>{escape(name)} · {escape(_told(result))}</li>" for name, result in measured)
    return (
        "<section><h2>Over versions</h2><p>Causeway's CPU per request as a ratio to the reference.</p>"
        f'<div class="plots"><figure>'
        f"{svg.lines('over versions', x, y, series)}</figure></div><ol>{listed}</ol></section>"
    )


def _when(result: dict[str, Any]) -> str:
    return str(result.get("machine", {}).get("date", ""))


def _told(result: dict[str, Any]) -> str:
    return f"{_when(result)} · {result.get('machine', {}).get('causeway', '')}"
