"""One page about many files: how many came, what became of their rows, how long that took. HTML and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from statistics import median
from typing import Final

from blocks.domain.models import LedgerEntry
from blocks.domain.text import printable
from deployments.commands.history.entries import delay

FEWEST_BARS: Final = 12
BARS: Final = 48
"""Parts that the time is divided into, at least and at most."""

FILES_SHOWN: Final = 200
"""Files in the table below the plots, the latest first."""

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 170, 56, 24, 12
_STEPS: Final = [
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=30),
    timedelta(days=365),
]
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2939; --faint: #667085; --ground: #fff; --line: #d0d5dd;
        --good: #175cd3; --bad: #d92d20; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f2f4f7; --faint: #98a2b3; --ground: #101828; --line: #344054; --good: #84adff; --bad: #f97066; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 46rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
svg { width: 100%; height: auto; display: block; } svg text { font-size: 12px; fill: var(--faint); }
.good { fill: var(--good); } .bad { fill: var(--bad); } .axis { stroke: var(--line); }
p { color: var(--faint); margin: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: .25rem .5rem; border-top: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; } td.file { overflow-wrap: anywhere; min-width: 12rem; }
.problem { color: var(--faint); }
"""


@dataclass(frozen=True)
class Span:
    """A part of the time, and the files that were claimed in it."""

    start: datetime
    entries: list[LedgerEntry]


def page(entries: Sequence[LedgerEntry], made_at: datetime) -> str:
    """The page; whatever comes from outside is escaped."""
    spans = _spans(entries)
    settled = [entry for entry in entries if entry.status in ("archived", "loaded")]
    plots = [
        _plot("Files", spans, lambda span: _count(span, good=True), lambda span: _count(span, good=False)),
        _plot("Rows loaded", spans, lambda span: sum(entry.loaded for entry in span.entries)),
        _plot("Rows rejected", spans, lambda _: 0, lambda span: sum(entry.rejected for entry in span.entries)),
        _plot("Seconds from landing to loaded, median", spans, _median_delay),
    ]
    rows = "\n".join(_row(entry) for entry in entries[:FILES_SHOWN])
    more = len(entries) - FILES_SHOWN
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sensor files</title><style>{_STYLE}</style></head><body>
<h1>{len(entries):,} files, {len(settled):,} loaded</h1>
<p>{sum(entry.loaded for entry in entries):,} rows loaded, {sum(entry.rejected for entry in entries):,} rejected.
As of {made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.</p>
{"".join(plots)}
<h2>The latest files</h2>
<div class="wide"><table><tr><th>when (UTC)</th><th>file</th><th>result</th>
<th>rows</th><th>loaded</th><th>rejected</th></tr>
{rows}
</table></div>
{f"<p>and {more:,} more; sensor-ingest history --json tells of all</p>" if more > 0 else ""}
</body></html>
"""


def _spans(entries: Sequence[LedgerEntry]) -> list[Span]:
    """The time up to the last file, from the first on or earlier, in equal parts of a length that people count in."""
    if not entries:
        return []
    moments = [entry.claimed_at.astimezone(UTC) for entry in entries]
    step = next((step for step in _STEPS if (max(moments) - min(moments)) / step < BARS), _STEPS[-1])
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    last = (max(moments) - epoch) // step
    first = min((min(moments) - epoch) // step, last - FEWEST_BARS + 1)
    spans = [Span(epoch + number * step, []) for number in range(first, last + 1)]
    for entry, moment in zip(entries, moments, strict=True):
        spans[(moment - epoch) // step - first].entries.append(entry)
    return spans


def _count(span: Span, *, good: bool) -> int:
    return sum((entry.status in ("archived", "loaded", "loading")) is good for entry in span.entries)


def _median_delay(span: Span) -> float:
    delays = [took.total_seconds() for entry in span.entries if (took := delay(entry)) is not None]
    return median(delays) if delays else 0


def _plot(
    title: str, spans: Sequence[Span], good: Callable[[Span], float], bad: Callable[[Span], float] = lambda _: 0
) -> str:
    """Bars over time: what is well below, what is not on top of it."""
    if not spans:
        return ""
    tallest = max(1.0, *(good(span) + bad(span) for span in spans))
    scale = (_HEIGHT - _TOP - _BOTTOM) / tallest
    width = (_WIDTH - _LEFT) / len(spans)
    floor = _HEIGHT - _BOTTOM
    bars = []
    for number, span in enumerate(spans):
        left = _LEFT + number * width
        for kind, value, below in (("good", good(span), 0.0), ("bad", bad(span), good(span))):
            if value:
                bars.append(
                    f'<rect class="{kind}" x="{left + 0.5:.1f}" y="{floor - (below + value) * scale:.1f}" '
                    f'width="{max(width - 1, 1):.1f}" height="{max(value * scale, 1):.1f}"><title>'
                    f"{span.start:%Y-%m-%d %H:%M}: {value:,.0f}</title></rect>"
                )
    return f"""<h2>{escape(title)}</h2>
<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">
<line class="axis" x1="{_LEFT}" y1="{floor}" x2="{_WIDTH}" y2="{floor}"/>
<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{tallest:,.0f}</text>
<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>
<text x="{_LEFT}" y="{_HEIGHT - 6}">{spans[0].start:%Y-%m-%d %H:%M}</text>
<text x="{_WIDTH}" y="{_HEIGHT - 6}" text-anchor="end">{spans[-1].start:%Y-%m-%d %H:%M}</text>
{"".join(bars)}</svg>"""


def _row(entry: LedgerEntry) -> str:
    problem = f'<div class="problem">{escape(printable(entry.problem))}</div>' if entry.problem else ""
    numbers = "".join(f'<td class="number">{count:,}</td>' for count in (entry.rows, entry.loaded, entry.rejected))
    return (
        f"<tr><td>{entry.claimed_at.astimezone(UTC):%Y-%m-%d %H:%M}</td>"
        f'<td class="file">{escape(printable(entry.uri))}{problem}</td><td>{entry.status}</td>{numbers}</tr>'
    )
