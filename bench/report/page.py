"""The page around the sections: style for light and dark, for a laptop and a phone. Pure."""

from collections.abc import Sequence
from html import escape
from typing import Any

from bench.report import sections

STYLE = """
:root { color-scheme: light dark; --text: #1c2430; --dim: #5c6773; --page: #f6f7f9; --card: #fff; --line: #e1e5ea;
  --good: #0a7d4f; --bad: #b3261e;
  --s0: #1f6feb; --s1: #e07b00; --s2: #8250df; --s3: #bf3989; --s4: #1a7f37;
  --s5: #7a828e; --s6: #0a7ea4; --s7: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --dim: #9aa5b1; --page: #0f1318; --card: #181e25;
  --line: #2c343e; --good: #4ac28a; --bad: #ff8a80;
  --s0: #58a6ff; --s1: #f0a13c; --s2: #b392f0; --s3: #f778ba; --s4: #56d364;
  --s5: #9aa5b1; --s6: #56c8e8; --s7: #d9b44a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.7rem; margin: 0 0 8px; } h2 { font-size: 1.25rem; margin: 32px 0 4px; }
h3 { margin: 0; font-size: 1.05rem; }
p { margin: 6px 0; max-width: 75ch; } .machine, figcaption, summary { color: var(--dim); font-size: .875rem; }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: 3px; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px; margin: 16px 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 16px 24px; margin: 12px 0; }
figure { margin: 0; min-width: 0; max-width: 640px; } figcaption { margin-bottom: 4px; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--dim); } svg .name, svg .value { fill: var(--text); } svg .mark text { font-weight: 600; }
.grid { stroke: var(--line); } .reference { stroke: var(--dim); stroke-dasharray: 4 3; }
.whisker { stroke: var(--text); fill: none; opacity: .65; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dot { stroke: none; }
COLOURS
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0 0; padding: 0;
  font-size: .875rem; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 10px 0; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { padding: 5px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0; background: var(--page); }
article th:first-child { background: var(--card); }
.figures th { white-space: normal; } .figures td { white-space: normal; }
td.best { font-weight: 700; color: var(--good); } td.none { color: var(--dim); }
.problem { color: var(--bad); overflow-wrap: anywhere; } summary { cursor: pointer; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 10px; margin: 12px 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 8px 12px; }
dt { color: var(--dim); font-size: .8rem; } dd { margin: 0; font-size: 1.25rem; font-weight: 600; }
@media (max-width: 600px) { main { padding: 16px 10px 40px; } article { padding: 12px 10px; } svg { font-size: 19px; }
  th, td { padding: 5px 8px; } }
""".replace(
    "COLOURS",
    "\n".join(
        f".s{n}.line {{ stroke: var(--s{n}); }} .s{n}.bar, .s{n}.dot {{ fill: var(--s{n}); }} "
        f"i.s{n} {{ background: var(--s{n}); }}"
        for n in range(8)
    ),
)


def page(results: Sequence[tuple[str, dict[str, Any]]], title: str = "Load benchmarks") -> str:
    """The whole page of named results. Needs no other file and no network."""
    body = sections.versions(results) + "".join(sections.of_result(name, result) for name, result in results)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
