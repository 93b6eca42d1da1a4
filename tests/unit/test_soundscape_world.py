"""The demo world: the same clip from a seed anywhere, splits that share nothing, truth that fits the sound."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile as sf

from precompute.soundscape import grammar
from precompute.soundscape.registry import EVENTS, FAMILIES, SAMPLE_RATE
from precompute.soundscape.sentences import SENTENCES
from precompute.soundscape.sounds import load_all
from precompute.soundscape.world import (
    CLIP_SECONDS,
    EMOTIONS,
    GENDERS,
    LANGUAGES,
    SPEECH,
    SPLITS,
    ClipTruth,
    EventTruth,
    Plan,
    active_segments,
    render_clip,
    render_dataset,
    render_many,
    truth_from_dict,
)


@pytest.fixture(scope="module")
def clips():
    return list(render_many("validation", range(40), workers=1))


def test_the_world_is_as_wide_as_promised():
    load_all()
    assert len(EVENTS) >= 40
    assert {e.family for e in EVENTS.values()} == set(FAMILIES)
    assert sum(e.family == "music" for e in EVENTS.values()) >= 6


def test_the_number_of_workers_changes_nothing(clips):
    again = list(render_many("validation", range(40), workers=2))
    for (a, ta), (b, tb) in zip(clips, again, strict=True):
        assert ta == tb
        np.testing.assert_array_equal(a, b)


def test_splits_and_indices_give_different_clips():
    seen = {render_clip(split, i)[0].tobytes() for split in SPLITS for i in range(3)}
    assert len(seen) == 12


def test_splits_share_no_spoken_text():
    texts = {split: {t for language in LANGUAGES for t in SENTENCES[language][split]} for split in SPLITS}
    for a in SPLITS:
        for b in SPLITS:
            assert a == b or texts[a].isdisjoint(texts[b])


def test_clips_are_sound_and_their_truth_lies_inside(clips):
    for audio, truth in clips:
        assert audio.shape == (int(CLIP_SECONDS * SAMPLE_RATE),)
        assert audio.dtype == np.float32
        assert 0.005 < np.abs(audio).max() <= 0.98
        assert 1 <= len(truth.events) <= 3
        assert [e.start_s for e in truth.events] == sorted(e.start_s for e in truth.events)
        for e in truth.events:
            assert e.segments[0][0] == e.start_s < e.end_s == e.segments[-1][1] <= CLIP_SECONDS + 0.01
            assert all(a < b for a, b in e.segments)
            assert (e.gender is not None) == (e.key == SPEECH)


def test_a_lone_event_is_louder_inside_its_segments_than_outside():
    audio, truth = render_clip("validation", 7, plan=Plan(events=("dog_bark",)))
    inside = np.zeros(len(audio), dtype=bool)
    for start, stop in truth.events[0].segments:
        inside[int(start * SAMPLE_RATE) : int(stop * SAMPLE_RATE)] = True
    assert 0.02 < inside.mean() < 0.98
    assert (audio[inside] ** 2).mean() > 10 * (audio[~inside] ** 2).mean()


def test_active_segments_of_two_bursts_known_by_hand():
    x = np.zeros(SAMPLE_RATE)
    x[1600:3200] = 1.0
    x[8000:9600] = 0.5
    assert active_segments(x) == ((0.1, 0.2), (0.5, 0.6))


@pytest.mark.parametrize("bad", [np.zeros(100), np.array([]), np.array([np.nan, 1.0])])
def test_a_broken_generator_is_named(bad):
    with pytest.raises(ValueError, match="mend its generator"):
        active_segments(bad)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'test' does not exist; use one of train"):
        render_clip("test", 0)


def test_every_caption_and_list_is_read_back(clips):
    for _, truth in clips:
        keys = {e.key for e in truth.events}
        for text in (grammar.caption(truth), grammar.sounds_answer([e.key for e in truth.events])):
            assert grammar.parse(text).keys == keys, text
        who = grammar.speaker_of(truth)
        heard = grammar.parse(grammar.caption(truth))
        if who is not None:
            assert (heard.gender, heard.emotion, heard.language) == (who.gender, who.emotion, who.language)


def test_every_phrase_of_every_event_is_read_back_as_that_event():
    load_all()
    for key, event in EVENTS.items():
        for phrase in (event.label, *event.clauses):
            assert grammar.parse(f"Thunder, {phrase}.").keys == grammar.parse("Thunder.").keys | {key}, phrase
            assert grammar.parse(grammar.sentence(phrase)).keys == {key}, phrase


def test_parse_reads_speaker_answers():
    assert grammar.parse("Female.").gender == "female"
    assert grammar.parse("An angry man is speaking German.") == (frozenset({SPEECH}), "male", "angry", "german")
    assert grammar.parse(grammar.NOBODY) == (frozenset(), None, None, None)


def test_questions_have_the_right_answers():
    event = EventTruth(SPEECH, 0.0, 2.0, ((0.0, 2.0),), "near", -20.0, "male", "sad", "french", "x")
    truth = ClipTruth("c", "train", 0, 0, (event, EventTruth("rain", 1.0, 3.0, ((1.0, 3.0),), "near", -20.0)), -60.0)
    rng = np.random.default_rng(0)
    expected = {"gender": "Male.", "emotion": "Sad.", "language": "French.", "count": "Two.", "first": "Speech."}
    for kind, answer in expected.items():
        assert grammar.question(kind, truth, rng).answer == answer
    asked = [grammar.question("yes_no", truth, rng) for _ in range(20)]
    labels = {grammar.SPEECH_LABEL, grammar.label("rain")}
    for qa in asked:
        assert qa.answer == ("Yes." if any(label in qa.question for label in labels) else "No."), qa
    with pytest.raises(ValueError, match="'colour' does not exist"):
        grammar.question("colour", truth, rng)


def test_plans_fix_the_speaker():
    _, truth = render_clip("selection", 1, plan=Plan(events=(SPEECH,), speaker={"emotion": "angry", "gender": "male"}))
    assert (truth.events[0].emotion, truth.events[0].gender) == ("angry", "male")
    assert truth.events[0].gender in GENDERS
    assert truth.events[0].emotion in EMOTIONS


def test_a_dataset_folder_holds_what_its_manifest_says(tmp_path):
    manifest = render_dataset(tmp_path, "selection", 3, workers=1)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [r["clip_id"] for r in rows] == [f"selection-0-{i:06d}" for i in range(3)]
    for i, row in enumerate(rows):
        audio, truth = render_clip("selection", i)
        stored, rate = sf.read(tmp_path / row["path"])
        assert rate == SAMPLE_RATE
        np.testing.assert_allclose(stored, audio, atol=1e-4)
        assert truth_from_dict(row["truth"]) == truth
        assert row["labels"] == truth.labels()
        assert row["path"].removesuffix(".wav") not in row["clip_id"]
