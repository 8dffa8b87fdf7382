"""Plots as inline SVG that take their colours from the page (so they are right in light and dark). Pure.

A plot is drawn for a width of 640 units and scales with the page; texts are real texts. Every mark has a <title>, which
a browser shows on hovering over it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 640
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 12, 44


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot. `colour` is the number of a series colour of the page."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of length `value` with a whisker from `low` to `high`."""

    name: str
    value: float
    low: float
    high: float
    colour: int
    label: str
    mark: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """`place` puts a value between 0 and 1. `ticks`: (value, text). The title of a y axis is left to the caption."""

    title: str
    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def linear(title: str, values: Sequence[float], tight: bool = False) -> Axis:
    """From 0 to beyond the highest; `tight`: just to it."""
    last = high = max([*values, 1e-9])
    step = _nice(high / 5)
    count = max(1, math.ceil(high / step - 1e-9))
    high = last if tight else count * step
    places = [number * step for number in range(count + 1) if number * step <= high * 1.0001]
    return Axis(title, lambda value: value / high, [(each, number_text(each)) for each in places])


def whole(title: str, last: int) -> Axis:
    """The numbers from 1 to `last`."""
    step = max(1, round(_nice(last / 8)))
    ticks = [(float(number), str(number)) for number in range(1, last + 1, step)]
    return Axis(title, lambda value: (value - 1) / max(1, last - 1), ticks)


def logarithmic(title: str, values: Sequence[float]) -> Axis:
    above = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)) - 1e-9)
    high = max(high, low + 1)
    ticks = [(10.0**power, number_text(10.0**power)) for power in range(low, high + 1)]
    return Axis(title, lambda value: (math.log10(max(value, 10.0**low)) - low) / (high - low), ticks)


NINES = (0, 50, 90, 99, 99.9, 99.99, 99.999)


def percentiles(highest: float) -> Axis:
    """Percentiles by the number of nines: from 90 to 99 it is as far as from 99 to 99.9."""
    shown = [each for each in NINES if each <= highest]
    span = _nines(max(highest, 90))
    return Axis("percentile", lambda percentile: _nines(percentile) / span, [(each, f"{each:g}") for each in shown])


def _nines(percentile: float) -> float:
    return -math.log10(max(1 - percentile / 100, 1e-7))


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= step * 0.999)


def number_text(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def lines(about: str, x: Axis, y: Axis, series: Sequence[Line], *, height: int = 300) -> str:
    """A plot of lines with its legend."""
    body = [_frame(x, y, height)]
    for line in series:
        at = [(_x(x.place(px)), _y(y.place(py), height)) for px, py in line.points]
        if not at:
            continue
        path = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in at)
        body.append(f'<path class="line s{line.colour}" d="{path}"><title>{escape(line.name)}</title></path>')
        if len(at) <= 40:
            body += [
                f'<circle class="dot s{line.colour}" cx="{px:.1f}" cy="{py:.1f}" r="3">'
                f"<title>{escape(line.name)}: {number_text(value)} at {number_text(where)}</title></circle>"
                for (px, py), (where, value) in zip(at, line.points, strict=True)
            ]
    return _figure(about, "".join(body), height) + legend(series)


def legend(series: Sequence[Line]) -> str:
    items = "".join(f'<li><i class="s{line.colour}"></i>{escape(line.name)}</li>' for line in series)
    return f'<ul class="legend">{items}</ul>' if len(series) > 1 else ""


def bars(about: str, title: str, values: Sequence[Bar], reference: float | None = None) -> str:
    """Horizontal bars with whiskers; `reference` is a line across all."""
    left, row, top = 106, 34, 8
    width = WIDTH - left - 96
    high = max([bar.high for bar in values] + [reference or 0]) or 1.0
    axis = linear(title, [high])
    bottom = top + row * len(values)
    parts = [
        f'<line class="grid" x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{bottom}"/>'
        f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{bottom + 16}">{text}</text>'
        for value, text in axis.ticks
        for at in [left + axis.place(value) * width]
    ]
    parts.append(
        f'<text class="axis" text-anchor="middle" x="{left + width / 2}" y="{bottom + 34}">{escape(title)}</text>'
    )
    for number, bar in enumerate(values):
        middle = top + row * number + row / 2
        end, low, far = (left + axis.place(value) * width for value in (bar.value, bar.low, bar.high))
        weight = ' class="mark"' if bar.mark else ""
        parts.append(
            f"<g{weight}><title>{escape(bar.name)}: {escape(bar.label)}</title>"
            f'<text class="name" text-anchor="end" x="{left - 8}" y="{middle + 4}">{escape(bar.name)}</text>'
            f'<rect class="bar s{bar.colour}" x="{left}" y="{middle - 9}" '
            f'width="{max(end - left, 1):.1f}" height="18" rx="2"/>'
            f'<path class="whisker" d="M{low:.1f} {middle}H{far:.1f}'
            f'M{low:.1f} {middle - 5}v10M{far:.1f} {middle - 5}v10"/>'
            f'<text class="value" x="{max(far, end) + 7:.1f}" y="{middle + 4}">{escape(bar.label)}</text></g>'
        )
    if reference is not None:
        at = left + axis.place(reference) * width
        parts.append(f'<line class="reference" x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{bottom}"/>')
    return _figure(about, "".join(parts), bottom + 42)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float, height: int) -> float:
    return height - BOTTOM - share * (height - TOP - BOTTOM)


def _frame(x: Axis, y: Axis, height: int) -> str:
    parts = []
    for value, text in y.ticks:
        at = _y(y.place(value), height)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{at + 4:.1f}">{text}</text>')
    for value, text in x.ticks:
        at = _x(x.place(value))
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{height - BOTTOM}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{height - BOTTOM + 16}">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" text-anchor="middle" x="{middle}" y="{height - 6}">{escape(x.title)}</text>')
    return "".join(parts)


def _figure(about: str, body: str, height: float) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(about)}">{body}</svg>'
