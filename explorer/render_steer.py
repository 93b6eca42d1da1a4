"""The steer page as HTML text: what is clamped, both answers, what is known to steer."""

from __future__ import annotations

import difflib
from html import escape

from explorer.queries_latents import Named
from explorer.queries_results import Example
from explorer.render import _short, link, share
from explorer.views import Clamped

TIMES_MAX = 16.0  # where a slider ends, in multiples of the latent's largest activation


def clamps(chosen: tuple[Clamped, ...], named: list[Named], sae_id: str) -> str:
    """One slider a latent; `data-top` is what 1 × stands for."""
    known = {n.latent_id: n for n in named}
    rows = "".join(_clamp(c, known[c.latent_id], sae_id) for c in chosen if c.latent_id in known)
    if not rows:
        return '<p class="note ard">No concept is clamped yet: add one below, or take one that is known to steer.</p>'
    return f'<div class="clamps ard">{rows}</div>'


def _clamp(clamp: Clamped, latent: Named, sae_id: str) -> str:
    top = latent.max_activation or 0.0
    name, high = escape(latent.name), max(TIMES_MAX, clamp.times)
    where = link("./", latent.name, sae=sae_id, latent=latent.latent_id)
    return f"""<div class="clamp" data-latent="{latent.latent_id}" data-top="{top:.6g}">
<span class="who">{where} <small>latent {latent.latent_id}</small></span>
<input type="range" min="{min(0.0, clamp.times):g}" max="{high:g}" step="0.25" value="{clamp.times:g}"
  aria-label="Value of {name}, in multiples of its largest activation">
<output>{clamp.times:g} × <small>z = {clamp.times * top:.3g}</small></output>
<button type="button" class="remove" aria-label="Take away {name}">×</button></div>"""


def suggestions(found: list[Named], words: str) -> str:
    """Concepts that fit the words, to be added by a click."""
    if not found and words:
        return f'<p class="note ard">No latent that fires has “{escape(words)}” in its name.</p>'
    buttons = "".join(
        f'<button type="button" data-latent="{n.latent_id}">{escape(n.name)} <small>{n.latent_id}'
        f"{'' if n.monosemanticity is None else f' · m {n.monosemanticity:.2f}'}</small></button>"
        for n in found
    )
    return f'<div class="suggest ard">{buttons}</div>' if buttons else ""


def examples(found: list[Example]) -> str:
    """Known to steer: a click sets clip, question, latent and value, and asks."""
    if not found:
        return ""
    buttons = "".join(
        f'<button type="button" data-example="{i}"><small>{escape(e.task)}</small>'
        f"<span>{escape(e.baseline)}</span><span>→ {marked(e.baseline, e.steered)}</span></button>"
        for i, e in enumerate(found)
    )
    return f'<section class="examples ard"><h3>Known to steer</h3><div>{buttons}</div></section>'


def answers(baseline: str, steered: str, note: str = "") -> str:
    """Both answers side by side, what changed marked in the second, and what the clamp did."""
    nothing = "<i>empty answer</i>"
    same = " The answers are the same." if baseline == steered else ""
    text = f"{note}{same}".strip()
    did = (
        f'<details class="did" open><summary>What the clamp did</summary><p>{escape(text)}</p></details>'
        if text
        else ""
    )
    return (
        '<div class="ard"><div class="answers">'
        f'<div class="answer"><h4>baseline</h4><p>{escape(baseline) or nothing}</p></div>'
        f'<div class="answer steered"><h4>steered</h4><p>{marked(baseline, steered) or nothing}</p></div>'
        f"</div>{did}</div>"
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


def no_examples(run: object) -> str:
    """What would list the latents that are known to steer."""
    return (
        '<p class="note ard">Latents that are known to steer would be listed here; '
        f"<code>python -m precompute steering --run {escape(str(run))}</code> looks for them.</p>"
    )


def sensitivity(value: float | None, low: float | None, high: float | None) -> str:
    """A sensitivity with its interval, as a share."""
    if value is None:
        return "–"
    return share(value) if low is None or high is None else f"{_short(value)} [{_short(low)}–{_short(high)}]"
