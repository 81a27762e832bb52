"""What the page says of the data set: counts, rejected models, doubtful grids."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

Status = dict[str, str]  # a row of a status.csv, and `category`, its name
DOUBTFUL = 0.01  # share of the cells on which the counts along the axes disagree
LISTED = 100  # rows of a table, at most


def doubtful(rows: Iterable[Status]) -> list[Status]:
    """Those of the rows whose grids are not to be trusted, the worst first."""
    found = [row for row in rows if row["status"] == "packed" and doubt(row) >= DOUBTFUL]
    return sorted(found, key=lambda row: (-doubt(row), row["synset"], row["model_id"]))


def dataset(rows: Sequence[Status], drawn: Mapping[tuple[str, str], bytes] | None = None) -> str:
    """Three tables, of rows of data/shards/<category>/status.csv.

    Args:
        drawn: pictures, WebP, of some doubtful grids by synset and model id.
    """
    rejected = [row for row in rows if row["status"] != "packed"]
    packed = [row for row in rows if row["status"] == "packed"]
    doubts = doubtful(packed)
    reasons = Counter(f"{row['status']}: {row['reason']}" for row in rejected)
    counted = ", ".join(f"{count} {html.escape(reason)}" for reason, count in sorted(reasons.items()))
    parts = [
        panel("Models by category", counts(rows)),
        "<h3>Rejected models</h3>",
        f"<p>{len(rejected)} of {len(rows)}{f' ({counted})' if rejected else ''}.</p>",
    ]
    if rejected:
        columns = ("category", "model_id", "status", "reason", "message")
        parts += listed(
            ["category", "model", "stage", "reason", "message"], [[r[c] for c in columns] for r in rejected]
        )
    parts += [
        "<h3>Doubtful grids</h3>",
        f"<p>{len(doubts)} of {len(packed)} grids have cells, {DOUBTFUL:.0%} of all or more, that are inside by rays "
        "along one axis and outside by another's (open or overlapping meshes, mostly), or lack cells at that share of "
        "the surface. Closed by lids is the share of the solid that closes holes and missing sides.</p>",
    ]
    if doubts:
        notes = [
            [
                r["category"],
                r["model_id"],
                r["split"],
                f"{float(r['disagreement']):.1%}",
                f"{float(r['uncovered']):.1%}",
                f"{float(r['lidded']):.1%}",
                f"{float(r['components']):.0f}",
            ]
            for r in doubts
        ]
        parts += listed(["category", "model", "split", "cells in doubt", "no cell", "closed by lids", "pieces"], notes)
        shown = [(r, picture) for r in doubts if (picture := (drawn or {}).get((r["synset"], r["model_id"])))]
        parts += ['<div class="doubts">', *(figure(row, picture) for row, picture in shown), "</div>"] * bool(shown)
    made = "<code>dvc repro pack</code>; every model is in <code>data/shards/*/status.csv</code>"
    return "\n".join([*parts, f'<p class="made">Made by {made}.</p>'])


def figure(row: Status, picture: bytes) -> str:
    """A model's picture with what is doubtful about it."""
    words = f"{row['category'].replace('_', ' ')} {row['model_id'][:12]}: {doubt(row):.1%}"
    source = base64.b64encode(picture).decode()
    what = plain(f"{words} in doubt, a view and the grid")
    return (
        f'<figure><img loading="lazy" alt="{what}" src="data:image/webp;base64,{source}">'
        f"<figcaption>{plain(words)}</figcaption></figure>"
    )


def doubt(row: Status) -> float:
    """How far a grid is not to be trusted: the larger of two shares of its note (see `geometry/solid.py`)."""
    return max(float(row["disagreement"]), float(row["uncovered"]))


def counts(rows: Sequence[Status]) -> str:
    """A table: models by category and split, how many were rejected, how much of the cube they fill."""
    known = [name for name in ("train", "val", "test") if any(row["split"] == name for row in rows)]
    splits = [*known, *sorted({row["split"] for row in rows if row["split"]} - {*known})]
    lines = []
    categories = [*dict.fromkeys(row["category"] for row in rows)]
    for name in [*categories, ""]:
        mine = [row for row in rows if row["category"] == name or not name]
        packed = [row for row in mine if row["status"] == "packed"]
        numbers = [sum(row["split"] == split for row in packed) for split in splits]
        filled = f"{median(float(row['fill_ratio']) for row in packed):.1%}" if packed else ""
        lines.append([name.replace("_", " ") or "all", *map(str, numbers), str(len(mine) - len(packed)), filled])
    return table(["", *splits, "rejected", "of the cube filled, median"], lines)


def listed(head: list[str], rows: list[list[str]]) -> Iterable[str]:
    """A table that opens, of the first LISTED rows."""
    more = f"<p>and {len(rows) - LISTED} more</p>" if len(rows) > LISTED else ""
    summary = f"<summary>Show {min(len(rows), LISTED)}</summary>"
    yield f"<details>{summary}{panel('', table(head, rows[:LISTED]))}{more}</details>"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Cells of plain text."""
    titles = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
    lines = "\n".join(f"<tr>{''.join(f'<td>{plain(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def plain(text: str) -> str:
    """Text that may have come with bytes that are none, as HTML."""
    return html.escape(text.encode("utf-8", "replace").decode())


def panel(title: str, content: str) -> str:
    """A box that scrolls by itself where it is too narrow, by keyboard as well."""
    return f'<div class="panel" tabindex="0" role="region" aria-label="{title or "table"}">{content}</div>'
