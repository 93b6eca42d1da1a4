"""The concepts page as HTML text: the table, one concept, and the evidence behind its name."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from explorer.queries import Concept, ConceptPage, ConceptRow
from explorer.queries_latents import Histogram, Neighbour, OutputToken
from explorer.render import absent, count, empty, figure, link, ordinal, sae_name, share, tip
from explorer.views import PAGE_SIZE, ViewState

MONOSEMANTICITY = (
    "How much more alike the clips that fire this latent most sound to CLAP than clips that fire it least: "
    "m = (E_H − E_L) / (σ_pooled + ε), Eq. 4. 0 is chance: no more alike. Higher is better."
)
DENSITY = "Share of the probing set's audio tokens on which the latent fires (z > 0)."
CLIPS = "Clips of the probing set in which the latent fires at least once."
AUROC = (
    "Detection: how well the latent's clip score r tells held-out clips that carry its class from the others, as the "
    "area under the ROC curve; the class was chosen on the probing clips. .5 is chance, 1 is perfect."
)
AUROC_CLAP = (
    "Name by sound: how well the CLAP cosine of name and clip tells the held-out clips on which the latent fires from "
    "the others, as the area under the ROC curve. No label and no listener is needed. .5 is chance, 1 is perfect."
)
_COLUMNS = (  # sort, head, class, definition
    ("monosemanticity", "m", "m", MONOSEMANTICITY),
    ("density", "density", "d", DENSITY),
    ("clips", "clips", "c", CLIPS),
    ("auroc", "AUROC", "a", AUROC),
)


def table(page: ConceptPage, state: ViewState, run: Path, *, detection: bool = False) -> str:
    """The table of concepts, or why it is empty. A click on a column's head sorts by it."""
    if not page.rows and state.query:
        return empty("Nothing found", f"No concept {page.words}. Fewer or other words may help.")
    if not page.rows:
        return empty(
            "No concepts yet",
            "The named latents of this SAE would be listed here. The pipeline's last stage makes them:",
            f"python -m precompute run --run {run}",
        )
    columns = _COLUMNS if detection else _COLUMNS[:-1]
    heads = "".join(_head(sort, text, f"n {kind}", words, state) for sort, text, kind, words in columns)
    widths = "".join(f'<col class="{kind}">' for _, _, kind, _ in columns)
    rows = "".join(_row(r, state.latent_id, detection) for r in page.rows)
    return f"""<div class="table ard"><table><colgroup><col class="rank"><col>{widths}</colgroup>
<thead><tr><th class="n">rank</th>{_head("name", "concept", "", "", state)}{heads}</tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _head(sort: str, text: str, kind: str, words: str, state: ViewState) -> str:
    upwards = (sort == "name") != state.reverse
    order = ("ascending" if upwards else "descending") if sort == state.sort else "none"
    mark = {"ascending": " ▴", "descending": " ▾", "none": ""}[order]
    return (
        f'<th class="{kind}" aria-sort="{order}"><button type="button" data-sort="{sort}">{text}{mark}</button>'
        f"{tip(words) if words else ''}</th>"
    )


def _row(r: ConceptRow, chosen: int | None, detection: bool) -> str:
    auroc = f'<td class="n a">{figure(r.auroc)}</td>' if detection else ""
    return (
        f'<tr data-latent="{r.latent_id}" tabindex="0" aria-selected="{str(r.latent_id == chosen).lower()}" '
        f'title="{escape(r.name)}: {escape(r.description)}"><td class="n">{r.rank}</td><td>{escape(r.name)}</td>'
        f'<td class="n">{r.monosemanticity:.2f}</td><td class="n d">{share(r.density)}</td>'
        f'<td class="n c">{count(r.clips_active)}</td>{auroc}</tr>'
    )


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
    place = f"({ordinal(r.rank)} of {count(c.concepts)}{median}; chance 0)"
    detection = (
        ""
        if r.auroc is None
        else f"<span>detection{f' of “{escape(r.auroc_label)}”' if r.auroc_label else ''} "
        f"<b>{figure(r.auroc, r.auroc_low, r.auroc_high)}</b> (chance .5) {tip(AUROC)}</span>"
    )
    actions = "" if c.method == "poly" else link("steer", "steer this", sae=c.sae_id, clamp=f"{r.latent_id}:4")
    on_map = link("maps", "on the map", sae=c.sae_id, latent=r.latent_id)
    return f"""<section class="concept ard" aria-live="polite"><h2>{escape(r.name)}</h2>
<p class="description">“{escape(r.description)}”</p>
<p class="facts"><span>monosemanticity <b>{r.monosemanticity:.2f}</b>{spread} {place}
{tip(MONOSEMANTICITY)}</span>{detection}<span>density <b>{share(r.density)}</b> {tip(DENSITY)}</span>
<span>fires in <b>{count(r.clips_active)}</b> clips</span><span>{_kind(c.method)} <b>{r.latent_id}</b></span>
<span class="actions">{actions}{on_map}<button id="jump" type="button">all concepts</button></span></p></section>"""


def _kind(method: str) -> str:
    return "raw dimension" if method == "poly" else "latent"


def why(c: Concept) -> str:
    """The evidence of the name: the captions it was made from with the name's words marked, and by what."""
    items = "".join(f"<li>{_with_marks(text, c.row.name)}</li>" for text in c.captions)
    captions = f"<ol>{items}</ol>" if items else "<p>No captions are stored for this concept.</p>"
    support = f" {share(c.support)} of the captions carry the name's phrase." if c.support else ""
    found = f"<b>{figure(c.auroc_clap, c.auroc_clap_low, c.auroc_clap_high)}</b> (chance .5) {tip(AUROC_CLAP)}"
    by_sound = (
        "" if c.auroc_clap is None else f'<p class="facts"><span>the name alone finds its clips {found}</span></p>'
    )
    return (
        '<section class="why"><h3>Why this name</h3>'
        f'{captions}<p class="note">Captions of the most representative clips; words of the name are marked. '
        f"Named by {escape(c.namer)}.{support}</p>{by_sound}</section>"
    )


def _with_marks(caption: str, name: str) -> str:
    wanted = {w.lower() for w in re.findall(r"\w+", name)}
    parts = re.split(r"(\w+)", caption)
    return "".join(f"<mark>{escape(p)}</mark>" if p.lower() in wanted else escape(p) for p in parts)


def histogram(h: Histogram | None, run: Path) -> str:
    """How strongly the latent fires where it fires: one bar a bin of z."""
    title = "<h3>Activation histogram</h3>"
    if h is None:
        return f"<section>{title}{absent('How strongly the latent fires.', 'latents', run)}</section>"
    top, bins = max(h.counts), len(h.counts)
    bars = "".join(
        f'<rect x="{i + 0.06:.2f}" y="{100 - 100 * n / top:.1f}" width="0.88" height="{100 * n / top:.1f}">'
        f"<title>z {low:.3g} to {high:.3g}: {count(n)} tokens</title></rect>"
        for i, (n, low, high) in enumerate(zip(h.counts, h.edges[:-1], h.edges[1:], strict=True))
    )
    total = count(sum(h.counts))
    return f"""<section>{title}<svg class="hist" viewBox="0 0 {bins} 100" preserveAspectRatio="none" role="img"
aria-label="{total} tokens above 0, z from {h.edges[0]:.3g} to {h.edges[-1]:.3g}">{bars}</svg>
<p class="axis num"><span>z {h.edges[0]:.3g}</span><span>{total} tokens above 0</span><span>{h.edges[-1]:.3g}</span></p>
</section>"""


def outputs(tokens: list[OutputToken], run: Path) -> str:
    """Words that the latent's decoder row promotes and suppresses, through the model's output matrix."""
    title = "<h3>Output words</h3>"
    if not tokens:
        return f"<section>{title}{absent('Words it promotes and suppresses.', 'neighbours', run)}</section>"
    sides = []
    for side in ("promoted", "suppressed"):
        words = "".join(
            f'<li><code>{escape(t.token) or "∅"}</code> <span class="num">{t.logit:+.2f}</span></li>'
            for t in tokens
            if t.side == side
        )
        sides.append(f"<div><h4>{side}</h4><ul>{words}</ul></div>")
    return (
        f'<section>{title}<div class="outputs">{"".join(sides)}</div>'
        '<p class="note">What its decoder row would add to each word\'s logit straight from this layer.</p></section>'
    )


def neighbours(found: list[Neighbour], sae_id: str, run: Path) -> str:
    """Similar latents, of this SAE and of others; each opens its concept."""
    title = "<h3>Similar latents</h3>"
    if not found:
        return f"<section>{title}{absent('Latents that fire alike.', 'neighbours', run)}</section>"
    items = "".join(
        f"<li>{link('./', n.name or f'latent {n.latent_id}', sae=n.sae_id, latent=n.latent_id)} "
        f'<span class="num">{"" if n.cosine is None else f"cos {n.cosine:.2f} "}'
        f"{'' if n.coactivation is None else f'with it {n.coactivation:.2f}'}</span>"
        f"{'' if n.sae_id == sae_id else f'<small>{escape(sae_name(n.sae_id))}</small>'}</li>"
        for n in found
    )
    return (
        f'<section>{title}<ul class="near">{items}</ul><p class="note">cos: of the decoder rows; '
        "with it: correlation of the clip scores r. 0 is unrelated.</p></section>"
    )


def evidence(sections: list[str]) -> str:
    """The four pieces side by side."""
    return f'<div class="evidence ard">{"".join(sections)}</div>'
