"""Pieces of the page as HTML text. Pure functions; everything that comes from a table or a model is escaped."""

from __future__ import annotations

import difflib
from html import escape
from pathlib import Path

from explorer.queries import Concept, ConceptPage
from explorer.views import PAGE_SIZE, ViewState

MONOSEMANTICITY = (
    "How much more alike the clips that fire this latent most sound to CLAP than clips that fire it least: "
    "m = (E_H − E_L) / (σ_pooled + ε), Eq. 4. 0 is chance: no more alike. Higher is better."
)
DENSITY = "Share of the probing set's audio tokens on which the latent fires (z > 0)."
CLIPS = "Clips of the probing set in which the latent fires at least once."


def tip(text: str) -> str:
    """A small question mark that shows a definition on hover and on focus."""
    return f'<span class="tip" tabindex="0" role="note" aria-label="{escape(text)}">?<span>{escape(text)}</span></span>'


def empty(title: str, text: str, command: str = "") -> str:
    """What would be here, and the command that makes it."""
    code = f"<br><code>{escape(command)}</code>" if command else ""
    return f'<div class="empty"><b>{escape(title)}</b><br>{escape(text)}{code}</div>'


def share(value: float | None) -> str:
    """A share as a percentage with two figures that count."""
    if value is None:
        return "–"
    percent = 100 * value
    return "0 %" if percent == 0 else f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def count(value: int | None) -> str:
    """A whole number with thin spaces between thousands."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def crumbs(run: str, sae_id: str, method: str, clips: int) -> str:
    """Where we are: run, SAE, method, number of clips."""
    where = " ▸ ".join(escape(p) for p in (run, sae_id.replace("/", " · ") or "no SAE", method))
    return (
        f'<div id="crumbs" class="ard"><h1>AR&amp;D Explorer</h1><span>{where}</span>'
        f'<span>{count(clips)} clips</span><button id="jump" type="button">all concepts</button></div>'
    )


def table(page: ConceptPage, state: ViewState, run: Path) -> str:
    """The table of concepts, or why it is empty."""
    if not page.rows and state.query:
        return empty("Nothing found", f"No concept {page.words}. Fewer or other words may help.")
    if not page.rows:
        return empty(
            "No concepts yet",
            "The named latents of this SAE would be listed here. The pipeline's last stage makes them:",
            f"python -m precompute run --run {run}",
        )
    rows = "".join(
        f'<tr data-latent="{r.latent_id}" tabindex="0" aria-selected="{str(r.latent_id == state.latent_id).lower()}" '
        f'title="{escape(r.name)}: {escape(r.description)}"><td class="n">{r.rank}</td><td>{escape(r.name)}</td>'
        f'<td class="n">{r.monosemanticity:.2f}</td><td class="n d">{share(r.density)}</td>'
        f'<td class="n">{count(r.clips_active)}</td></tr>'
        for r in page.rows
    )
    return f"""<div class="table ard"><table>
<colgroup><col class="rank"><col><col class="m"><col class="d"><col class="c"></colgroup>
<thead><tr><th class="n">rank</th><th>concept</th><th class="n">m {tip(MONOSEMANTICITY)}</th>
<th class="n d">density {tip(DENSITY)}</th><th class="n">clips {tip(CLIPS)}</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def pager(page: ConceptPage) -> str:
    """Which rows of how many are shown."""
    if not page.total:
        return '<span class="num">0 concepts</span>'
    first = (page.page - 1) * PAGE_SIZE + 1
    return f'<span class="num">{first}–{first + len(page.rows) - 1} of {count(page.total)}</span>'


def concept(c: Concept) -> str:
    """Name, description and figures of one concept."""
    r = c.row
    median = "" if c.median is None else f" · median of this SAE <b>{c.median:.2f}</b>"
    spread = "" if c.score_std is None else f" ± {c.score_std:.2f} over {c.draws} draws"
    place = f"({ordinal(r.rank)} of {count(c.concepts)}{median})"
    return f"""<section class="concept ard" aria-live="polite"><h2>{escape(r.name)}</h2>
<p class="description">“{escape(r.description)}”</p>
<p class="facts"><span>monosemanticity <b>{r.monosemanticity:.2f}</b>{spread} {place}
{tip(MONOSEMANTICITY)}</span><span>density <b>{share(r.density)}</b> {tip(DENSITY)}</span>
<span>fires in <b>{count(r.clips_active)}</b> clips</span><span>latent <b>{r.latent_id}</b></span></p></section>"""


def why(c: Concept) -> str:
    """The evidence of the name: the captions it was made from, and by what."""
    items = "".join(f"<li>{escape(text)}</li>" for text in c.captions)
    captions = f"<ol>{items}</ol>" if items else "<p>No captions are stored for this concept.</p>"
    return (
        '<details class="why ard" open><summary>Why this name: the captions of the most representative clips</summary>'
        f'{captions}<p class="note">Named by {escape(c.namer)}.</p></details>'
    )


def steered_value(times: float, top: float | None) -> str:
    """What the slider stands for, in the units of z."""
    if not top:
        return '<p class="note ard">This latent has no recorded activation to scale the slider with.</p>'
    z = f'<span class="num">{times * top:.3g}</span>'
    return f'<p class="note ard">{times:g} × its largest activation = clamped to z = {z}</p>'


def answers(baseline: str, steered: str, note: str = "") -> str:
    """Both answers side by side, what changed marked in the second."""
    nothing = "<i>empty answer</i>"
    text = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        '<div class="ard"><div class="answers">'
        f'<div class="answer"><h4>baseline</h4><p>{escape(baseline) or nothing}</p></div>'
        f'<div class="answer steered"><h4>steered</h4><p>{marked(baseline, steered) or nothing}</p></div>'
        f"</div>{text}</div>"
    )


def marked(before: str, after: str) -> str:
    """`after`, escaped, with the words that `before` does not have in that place marked."""
    old, new = before.split(), after.split()
    parts = []
    for kind, _, _, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        words = escape(" ".join(new[start:end]))
        if words:
            parts.append(words if kind == "equal" else f"<mark>{words}</mark>")
    return " ".join(parts)


def note(text: str) -> str:
    """One quiet line."""
    return f'<p class="note ard" role="status">{escape(text)}</p>' if text else ""
