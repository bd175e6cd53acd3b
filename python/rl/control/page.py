"""A page that needs nothing but a browser: curves as inline SVG, tables, a picture inside."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#c2410c", "#1d4ed8", "#64748b", "#15803d")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 190, 52, 26, 12
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1e293b; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .9rem .2rem 0; text-align: left; }
td + td { text-align: right; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: .4rem 1rem .4rem 0; } figcaption { color: #475569; font-size: .85rem; }
pre { background: #f1f5f9; padding: .7rem; overflow-x: auto; font-size: .8rem; } svg { max-width: 100%; }
.good { color: #15803d; } .bad { color: #b91c1c; }
"""


@dataclass(frozen=True)
class Curve:
    """A named line through (x, y)."""

    name: str
    x: NDArray[Any]
    y: NDArray[Any]
    dashed: bool = False


@dataclass
class Page:
    """Sections in the order in which they are added; everything that is text is escaped."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, kind: str = "") -> None:
        self.parts.append(f'<p class="{html.escape(kind)}">{html.escape(text)}</p>')

    def code(self, text: str) -> None:
        self.parts.append(f"<pre>{html.escape(text)}</pre>")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self.parts.append(f"<table>{body}</table>")

    def chart(self, caption: str, curves: Sequence[Curve], x_label: str = "", *, log: bool = False) -> None:
        picture = chart(curves, x_label, log=log)
        self.parts.append(f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>")

    def picture(self, caption: str, png: bytes, width: int) -> None:
        data = base64.b64encode(png).decode()
        image = f'<img alt="{html.escape(caption)}" width="{width}" src="data:image/png;base64,{data}">'
        self.parts.append(f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>")

    def write(self, path: Path) -> None:
        """Written aside, synced, renamed."""
        title = html.escape(self.title)
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".partial")
        with aside.open("w", encoding="utf-8") as file:
            file.write(f"{head}<body><h1>{title}</h1>{''.join(self.parts)}</body></html>\n")
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)


def chart(curves: Sequence[Curve], x_label: str = "", *, log: bool = False) -> str:
    """Lines as SVG with axes and a legend. log: the y axis is logarithmic."""
    x_all = np.concatenate([np.asarray(c.x, float) for c in curves])
    y_all = np.concatenate([_scaled(c.y, log) for c in curves])
    x0, x1 = _span(x_all)
    y0, y1 = _span(y_all)
    across, down = WIDTH - LEFT - 8, HEIGHT - BOTTOM - TOP

    def place(x: NDArray[Any], y: NDArray[Any]) -> str:
        to_x = LEFT + (np.asarray(x, float) - x0) / (x1 - x0) * across
        to_y = TOP + (y1 - _scaled(y, log)) / (y1 - y0) * down
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(to_x, to_y, strict=True) if np.isfinite(b))

    lines = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">']
    lines += _grid((x0, x1), (y0, y1), x_label, log)
    for at, curve in enumerate(curves):
        colour, dash = COLOURS[at % len(COLOURS)], ' stroke-dasharray="5 4"' if curve.dashed else ""
        points = place(curve.x, curve.y)
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6"{dash} points="{points}"/>')
        name = html.escape(curve.name)
        lines.append(f'<text x="{LEFT + 8 + at * 150}" y="10" font-size="11" fill="{colour}">{name}</text>')
    return "".join(lines) + "</svg>"


def _scaled(values: Any, log: bool) -> NDArray[np.float64]:
    given = np.asarray(values, float)
    return np.log10(np.maximum(given, 1e-12)) if log else given


def _span(values: NDArray[Any]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = (high - low) * 0.04 or 0.5
    return low - room, high + room


def _grid(x: tuple[float, float], y: tuple[float, float], x_label: str, log: bool) -> list[str]:
    down, across = HEIGHT - BOTTOM - TOP, WIDTH - LEFT - 8
    lines = []
    for part in (0.0, 0.5, 1.0):
        at, value = TOP + (1 - part) * down, y[0] + part * (y[1] - y[0])
        text = f"{10**value:.3g}" if log else f"{value:.3g}"
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e2e8f0"/>')
        lines.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" font-size="11" text-anchor="end" fill="#475569">{text}</text>'
        )
    for part in (0.0, 0.5, 1.0):
        at, value = LEFT + part * across, x[0] + part * (x[1] - x[0])
        unit = f" {html.escape(x_label)}" if part == 1.0 else ""
        anchor = "start" if part == 0 else "end" if part == 1 else "middle"
        place = f'x="{at:.1f}" y="{HEIGHT - 8}" font-size="11" text-anchor="{anchor}" fill="#475569"'
        lines.append(f"<text {place}>{value:.3g}{unit}</text>")
    return lines
