"""The training path sees exactly what the loaded model sees: features and packed questions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ard.models.audio_lm import AudioLM
from precompute.soundscape import batches, demo_model, features, grammar, train_audio_lm
from precompute.soundscape.grammar import QA
from precompute.soundscape.world import ClipTruth, EventTruth, render_clip


@pytest.fixture(scope="module")
def demo():
    torch.manual_seed(0)
    tokenizer = demo_model.build_tokenizer(grammar.vocabulary_text())
    model = demo_model.build_model(
        tokenizer, encoder_width=32, encoder_layers=1, width=32, layers=2, feed_forward=64, heads=2
    )
    return model.eval(), demo_model.build_processor(tokenizer)


def test_log_mel_normalised_equals_the_feature_extractor(demo):
    extractor = demo[1].feature_extractor
    audio, _ = render_clip("train", 3)
    expected = extractor(audio, sampling_rate=16_000, return_tensors="pt", padding="max_length").input_features[0]
    got = features.normalise(features.log_mel(torch.from_numpy(audio)[None], features.whisper_bank(extractor)))[0]
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("tokens", [100, 40])  # 4 s, the full window, and 1.6 s
def test_a_branch_is_scored_as_if_its_question_stood_alone(demo, tokens):
    model, processor = demo
    audio = render_clip("train", 5)[0][: tokens * 640]
    questions = [QA("a", "Which sounds can be heard?", "Dog barking."), QA("b", "Describe the audio.", "A dog barks.")]
    packed = batches.pack(processor.tokenizer, [questions], [tokens])
    mels = processor.feature_extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    inner, real = model.model, torch.arange(100)[None] < tokens
    heard = train_audio_lm.hear(inner, mels, real)[real]
    embeds = inner.get_input_embeddings()(packed.ids)
    embeds = embeds.masked_scatter((packed.ids == processor.audio_token_id)[..., None], heard)
    with torch.no_grad():
        hidden = inner.language_model(
            inputs_embeds=embeds, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False
        ).last_hidden_state
        keep = packed.labels[0] != -100
        logp = model.lm_head(hidden)[0][keep].log_softmax(-1).gather(1, packed.labels[0][keep][:, None])[:, 0]
    lm = AudioLM(model, processor)
    alone = lm.answer_log_probs(lm.prepare([audio] * 2, [q.question for q in questions], [q.answer for q in questions]))
    torch.testing.assert_close(logp.sum(), alone.sum(), atol=2e-2, rtol=1e-3)


def test_mixing_log_mels_adds_powers():
    a, b = torch.full((1, 2), 1.0), torch.full((1, 2), 1.0)
    torch.testing.assert_close(features.mix(a, b, 0.0), torch.full((1, 2), 1.0 + np.log10(2.0)).float())
    torch.testing.assert_close(features.mix(a, b, -10.0), torch.full((1, 2), 1.0 + np.log10(1.1)).float())


def test_token_targets_mark_the_tokens_of_each_segment():
    event = EventTruth("rain", 0.0, 0.2, ((0.04, 0.08), (0.15, 0.2)), "near", -20.0)
    truth = ClipTruth("c", "train", 0, 0, (event,), -60.0)
    got = features.token_targets(truth, ["rain", "wind"], 10, 25.0)
    assert got[:, 0].tolist() == [False, True, False, True, True, False, False, False, False, False]
    assert not got[:, 1].any()


def test_clips_with_a_shared_event_or_four_events_are_not_mixable():
    def clip(*keys):
        return ClipTruth("c", "train", 0, 0, tuple(EventTruth(k, 0, 1, ((0, 1),), "near", 0) for k in keys), -60)

    assert features.mixable(clip("rain"), clip("wind", "train"))
    assert not features.mixable(clip("rain"), clip("rain"))
    assert not features.mixable(clip("rain", "wind"), clip("train", "piano"))


def test_a_shortened_clip_ends_where_no_event_is_cut():
    event = EventTruth("rain", 0.5, 1.5, ((0.5, 1.5),), "near", -20.0)
    others = replace(event, key="siren", start_s=1.2, end_s=2.0), replace(event, key="bell", start_s=3.0, end_s=3.4)
    events = (event, *others)
    truth = ClipTruth("x", "train", 0, 0, events, -60.0)
    for seed in range(20):
        seconds, rest = features.shorten(truth, np.random.default_rng(seed))
        kept = [e.key for e in rest.events]
        assert kept in (["rain", "siren"], ["rain", "siren", "bell"])  # 1.5 s would cut the siren
        assert (2.0 <= seconds <= 2.5) if len(kept) == 2 else (3.4 <= seconds <= 3.9)


def test_packed_positions_follow_each_clips_own_audio(demo):
    processor = demo[1]
    questions = [QA("describe", "Describe the audio.", "A dog barks.")]
    packed = batches.pack(processor.tokenizer, [questions, questions], [100, 40])
    audio = packed.ids == processor.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    assert audio.sum(1).tolist() == [100, 40]
    ends = [int(packed.positions[i].max()) for i in (0, 1)]
    assert ends[0] - ends[1] == 60
    alone = batches.pack(processor.tokenizer, [questions], [40])
    assert torch.equal(alone.ids[0], packed.ids[1])
    assert torch.equal(alone.mask[0], packed.mask[1])
