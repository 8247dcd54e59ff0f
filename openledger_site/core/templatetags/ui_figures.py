"""Figures drawn on the server: small, printable SVG that needs no script and no inline style."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

SERIES_COLOURS = 8
CHART_WIDTH = 600
CHART_HEIGHT = 200


def identicon_svg(seed: str, size_pixels: int) -> SafeString:
    """Draw a mirrored 5x5 pattern whose cells and hue come from SHA-256 of the lower-cased seed."""
    digest = hashlib.sha256(seed.lower().encode()).digest()
    hue = int.from_bytes(digest[:2], "big") % 360
    cells = [
        (column, row)
        for row in range(5)
        for column in range(5)
        if digest[2 + row * 3 + min(column, 4 - column)] % 2
    ]
    squares = format_html_join(
        "", '<rect x="{}" y="{}" width="1.02" height="1.02"/>', ((x, y) for x, y in cells)
    )
    return format_html(
        '<svg class="identicon" viewBox="-1 -1 7 7" width="{0}" height="{0}" aria-hidden="true">'
        '<rect x="-1" y="-1" width="7" height="7" fill="hsl({1} 45% 90%)"/>'
        '<g fill="hsl({1} 60% 36%)">{2}</g></svg>',
        size_pixels,
        hue,
        squares,
    )


@dataclass(frozen=True)
class Slice:
    """One part of a share bar; `start` and `width` are in percent of the whole."""

    label: str
    percent: str
    start: str
    width: str
    colour: int
    href: str


def _part(share: object, name: str) -> object:
    if isinstance(share, Mapping):
        return share.get(name, "")
    return getattr(share, name, "")


def slices(shares: Iterable[object]) -> list[Slice]:
    """Lay shares side by side; values may be wei (int) or fractions (float), only ratios matter."""
    rows = list(shares)
    values = [Decimal(str(_part(row, "value") or 0)) for row in rows]
    total = sum(values, Decimal(0))
    found: list[Slice] = []
    start = Decimal(0)
    for position, (row, value) in enumerate(zip(rows, values, strict=True)):
        width = value * 100 / total if total else Decimal(0)
        found.append(
            Slice(
                label=str(_part(row, "label")),
                percent=f"{width:.1f}",
                start=f"{start:.3f}",
                width=f"{width:.3f}",
                colour=position % SERIES_COLOURS + 1,
                href=str(_part(row, "href")),
            )
        )
        start += width
    return found


@dataclass(frozen=True)
class Line:
    """One drawn series: SVG path data in the chart's own units and the last value in words."""

    name: str
    path: str
    colour: int
    last: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines with the extremes of both axes, ready for `components/line_chart.html`."""

    lines: list[Line]
    low: str
    high: str
    first: str
    last: str


def chart(series: Iterable[Mapping[str, object]]) -> Chart | None:
    """Scale series of (x, y) points to the chart's box; None while there is nothing to draw."""
    named = [(str(entry["name"]), _points(entry.get("points", ()))) for entry in series]
    flat = [point for _, points in named for point in points]
    if not flat:
        return None
    horizontal = [x for x, _ in flat]
    vertical = [y for _, y in flat]
    left, right, low, high = min(horizontal), max(horizontal), min(vertical), max(vertical)

    def place(point: tuple[float, float]) -> str:
        x = (point[0] - left) / ((right - left) or 1) * CHART_WIDTH
        y = CHART_HEIGHT - (point[1] - low) / ((high - low) or 1) * CHART_HEIGHT
        return f"{x:.1f} {y:.1f}"

    lines = [
        Line(
            name=name,
            path="M" + " L".join(place(point) for point in points),
            colour=position % SERIES_COLOURS + 1,
            last=_figure(points[-1][1]),
            points=points,
        )
        for position, (name, points) in enumerate(named)
        if points
    ]
    return Chart(lines, _figure(low), _figure(high), _figure(left), _figure(right))


def _points(raw: object) -> list[tuple[float, float]]:
    if not isinstance(raw, Iterable):
        return []
    points = [(float(x), float(y)) for x, y in raw]
    return [point for point in points if all(map(math.isfinite, point))]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
