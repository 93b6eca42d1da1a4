"""Pieces of the rating page as HTML text. Nothing here tells a clip's id, labels or caption, nor a concept's method."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from urllib.parse import quote

from explorer import players
from explorer.ratings import MAX_DESCRIPTION, Trial
from explorer.study import Study, StudyClip

STEPS = ("Listen", "Describe", "Name", "Rate")
SCALE = ("not at all", "hardly", "a little", "partly", "well", "exactly")
_MARKS = ('class="now" aria-current="step"', 'class="done"', 'class=""')
THINKING = 25.0  # seconds for describing and rating an item, until the rater's own pace is known


def step(trial: Trial) -> int:
    """Where the item stands, as an index into `STEPS`; the name and the rating share a view."""
    return 2 if trial.description is not None else 0 if trial.unheard else 1


def head(trial: Trial) -> str:
    """Which item of how many, and about how long the rest takes."""
    left = trial.total - trial.position + 1
    pace = trial.pace or THINKING + sum(c.duration_s for c in trial.item.clips)
    minutes = max(1, round(left * pace / 60))
    share = 100 * (trial.position - 1) / trial.total
    now = step(trial)
    open_steps = (2, 3) if now == 2 else (now,)
    steps = "".join(
        f"<li {_MARKS[0 if i in open_steps else 1 if i < now else 2]}><b>{i + 1}</b> {name}</li>"
        for i, name in enumerate(STEPS)
    )
    return (
        f'<header class="rate-head ard"><p class="progress">item <b>{trial.position}</b> of <b>{trial.total}</b>'
        f" · about {minutes} min left</p>"
        f'<div class="bar" role="progressbar" aria-label="Items done" aria-valuemin="0" aria-valuemax="{trial.total}"'
        f' aria-valuenow="{trial.position - 1}"><i style="width: {share:.1f}%"></i></div>'
        f'<ol class="steps">{steps}</ol></header>'
    )


def cards(trial: Trial, audio_dir: Path) -> str:
    """The clips of one item, to be heard."""
    made = "".join(_card(clip, i, trial, audio_dir) for i, clip in enumerate(trial.item.clips))
    return f'<div class="clips rate-clips" data-position="{trial.position}">{made}</div>'


def _card(clip: StudyClip, index: int, trial: Trial, audio_dir: Path) -> str:
    sound = players.waveform(audio_dir / clip.audio)
    state = " was-heard" if index in trial.heard else " was-failed" if index in trial.failed or sound is None else ""
    label = f"clip {index + 1} of {len(trial.item.clips)}"
    body = players.waveform_svg(sound.peaks) if sound else ""
    words = "" if sound else "This clip cannot be played; go on without it."
    gain = f"{sound.gain:.4f}" if sound else "1"
    player = f'<audio preload="none" src="audio/{quote(clip.audio)}"></audio>' if sound else ""
    return f"""<article class="clip{state}" data-index="{index}" data-duration="{clip.duration_s:.3f}"
  data-gain="{gain}">
  <button class="play" type="button" aria-label="Play {label}"{"" if sound else " disabled"}></button>
  <div class="seek" role="slider" tabindex="0" aria-label="Position in {label}" aria-valuemin="0"
    aria-valuemax="{clip.duration_s:.1f}" aria-valuenow="0">{body}<i class="playhead"></i></div>
  <p class="line"><span class="time"><span class="now">0.0</span> / {clip.duration_s:.1f} s</span
    ><span class="tick" role="status"></span></p>
  <p class="caption">{words}</p>{player}
</article>"""


def panel(trial: Trial) -> str:
    """What is to be done now. The name is in it only once the description is stored."""
    now = step(trial)
    if now == 0:
        body = _listen(trial)
    elif now == 1:
        body = _describe()
    else:
        body = _rate(trial)
    return (
        f'<section class="rate-panel ard" data-step="{STEPS[now].lower()}" data-position="{trial.position}" '
        f'aria-live="polite">{body}</section>'
    )


def _listen(trial: Trial) -> str:
    total, heard = len(trial.item.clips), len(trial.item.clips) - trial.unheard
    return (
        f"<h2>Listen to the {total} clips, each to its end</h2>"
        f"<p>What do they have in common? Play them in any order, as often as you like.</p>"
        f'<p class="note"><span class="num">{heard} of {total}</span> heard</p>'
    )


def _describe() -> str:
    return (
        '<form data-action="describe"><label for="rate-words"><h2>What do the clips have in common?</h2></label>'
        "<p>Say it in your own words; a few are enough. If it is nothing, say so.</p>"
        f'<textarea id="rate-words" rows="2" maxlength="{MAX_DESCRIPTION}" required autocomplete="off"></textarea>'
        '<div class="act"><button type="submit" disabled>Save and show the name</button>'
        f'<span class="note"><span class="num" id="rate-left">{MAX_DESCRIPTION}</span> characters left</span></div>'
        "</form>"
    )


def _rate(trial: Trial) -> str:
    choices = "".join(
        f'<label title="{words}"><input type="radio" name="rating" value="{i}"><b>{i}</b><span>{words}</span></label>'
        for i, words in enumerate(SCALE)
    )
    return (
        f'<p class="note">You wrote</p><p class="own">{escape(trial.description or "")}</p>'
        f'<p class="note">The automatic name is</p><p class="name">“{escape(trial.item.name)}”</p>'
        '<form data-action="rate"><fieldset><legend><h2>How well does the name fit what you heard?</h2></legend>'
        f'<div class="scale">{choices}</div></fieldset>'
        '<div class="act"><button type="submit" disabled>Save and go on</button>'
        '<span class="note keys">keys 0 to 5, then Enter</span></div></form>'
    )


def welcome(study: Study) -> str:
    """Before the first item: what is asked, how long it takes, what is kept."""
    total = len(study.items) + study.repeats
    seconds = sum(c.duration_s for item in study.items for c in item.clips) / max(1, len(study.items)) + THINKING
    return f"""<section class="rate-panel welcome ard" data-step="welcome">
<h2>Listen, and judge names for sounds</h2>
<p>You will hear {total} groups of short clips that a program put together.</p>
<ol><li>Play every clip of the group to its end.</li><li>Describe in your own words what they have in common.</li>
<li>Then the name is shown that the program gave to the group.</li>
<li>Rate how well it fits: 0 not at all, 5 exactly.</li></ol>
<p>It takes about {max(1, round(total * seconds / 60))} minutes. Headphones in a quiet room are best.
You can stop at any time: this page's address brings you back to the same place, so keep it.</p>
<p class="note">Kept are your answers and the time they took, under a random number; no name, no address.</p>
<div class="act"><button type="button" data-action="begin">Begin</button></div></section>"""


def thanks(rater: str, total: int) -> str:
    """After the last item. The code is the rater's number in table `ratings`."""
    code = "-".join(rater[i : i + 4] for i in range(0, len(rater), 4)).upper()
    return (
        f'<section class="rate-panel done ard" data-step="done"><h2>Thank you: that was all</h2>'
        f"<p>Your {total} answers are saved. You can close this page.</p>"
        f'<p class="note">Completion code</p><p class="code">{code}</p></section>'
    )


def problem(title: str, text: str, command: str = "") -> str:
    """Why nothing can be rated here, and the mend."""
    code = f"<p><code>{escape(command)}</code></p>" if command else ""
    return (
        f'<section class="rate-panel ard" data-step="problem"><h2>{escape(title)}</h2><p>{escape(text)}</p>{code}'
        "</section>"
    )


def session(study_id: str, token: str, position: int | None) -> str:
    """What the page sends back with every answer; its study and rater are those of the address."""
    return json.dumps({"study": study_id, "rater": token, "position": position})
