"""The listen page as HTML text: one recording, and below it when each concept fires."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from explorer.players import Waveform, strip_svg, waveform_svg
from explorer.queries_latents import Named
from explorer.render import count, empty, link
from explorer.service import HeardLatent, Listened


class Sound(NamedTuple):
    """A recording to hear: where the page gets it, what it is called."""

    url: str
    title: str
    wave: Waveform | None


def heard(found: Listened, named: list[Named], sound: Sound) -> str:
    """The recording with one strip for each concept that fires, strongest first; all share its time axis."""
    if not found.latents:
        return empty("No concept fires", "No latent of this SAE is above 0 anywhere in this sound.")
    known = {n.latent_id: n for n in named}
    names = "".join(f"<li>{_who(latent, known.get(latent.latent_id), found.sae_id)}</li>" for latent in found.latents)
    strips = "".join(_strip(latent, known.get(latent.latent_id)) for latent in found.latents)
    wave = waveform_svg(sound.wave.peaks) if sound.wave else ""
    gain = sound.wave.gain if sound.wave else 1.0
    windows = "" if found.windows == 1 else f" The model heard it in {found.windows} windows, each on its own."
    return f"""<div class="ard"><article class="clip heard" data-clip="own" data-duration="{found.seconds:.3f}"
data-gain="{gain:.4f}" data-token="{found.seconds_per_token:.6f}">
<div class="left"><button class="play" type="button" aria-label="Play {escape(sound.title)}"></button>
<ul class="names">{names}</ul></div>
<div class="seek" role="slider" tabindex="0" aria-label="Position" aria-valuemin="0" aria-valuemax="{found.seconds:.1f}"
aria-valuenow="0">{wave}{strips}<i class="playhead"></i></div>
<p class="line"><span class="time"><span class="now">0.0</span> / {found.seconds:.1f} s</span>
<span>{count(found.tokens)} audio tokens</span></p>
<p class="caption">{escape(sound.title)}</p><audio preload="none" src="{escape(sound.url)}"></audio></article>
<p class="note">Strips: z at each audio token; full height is the most the latent reached on the probing set. Ordered by
r = μ·c over this sound (Eq. 2).{windows}</p></div>"""


def _who(latent: HeardLatent, named: Named | None, sae_id: str) -> str:
    name = named.name if named else f"latent {latent.latent_id}"
    title = f"r {latent.representativeness:.3g} · μ {latent.mean_activation:.3g} · c {latent.coverage:.2f}"
    where = link("./", name, sae=sae_id, latent=latent.latent_id)
    return f'<span title="{title}">{where} <small>{latent.latent_id} · r {latent.representativeness:.2g}</small></span>'


def _strip(latent: HeardLatent, named: Named | None) -> str:
    top = (named.max_activation if named else None) or latent.max_activation
    return strip_svg(list(latent.values), max(top, latent.max_activation))
