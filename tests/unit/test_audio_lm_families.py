"""Every AudioLLM family on a small random checkpoint of its real class: the same promises for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ard.embedded import embedded, with_answers
from ard.models.audio_lm import AudioLM
from ard.models.common import AudioError
from ard.models.families import FAMILIES
from ard.models.inputs import InputError, Inputs
from ard.output_tokens import output_side
from ard.sae import SAEConfig, TopKSAE
from ard.steering import Clamp, Steering, steer
from ard.steering_search import Bench
from tests.fixtures.families import (
    TINY,
    tiny_family,
)
from tests.fixtures.models import hooks_left, seeded, tone

QUESTIONS = ["What sound is this?", "Is the speaker female or male?", "What?"]
CLIPS = [tone(2.0), tone(0.5, 900), tone(1.2, 200)]


@pytest.fixture(scope="module", params=list(TINY))
def lm(request: pytest.FixtureRequest) -> AudioLM:
    return tiny_family(request.param)


@pytest.fixture
def mixed(lm: AudioLM) -> Inputs:
    return lm.prepare(CLIPS, QUESTIONS)


def family(lm: AudioLM) -> str:
    return lm.model.config.model_type if lm.model.config.model_type in TINY else "qwen2_5_omni_thinker"


def decoded(lm: AudioLM, ids: Tensor) -> str:
    return lm.processor.tokenizer.decode(ids)


def test_every_family_is_proven() -> None:
    proven = {TINY[name].build()[0].config.model_type for name in TINY}
    assert all(proven & set(one.model_types) for one in FAMILIES)


def test_audio_tokens_are_those_of_the_seconds(lm: AudioLM) -> None:
    assert (lm.n_layers, lm.d_model, lm.sampling_rate, lm.window_s) == (4, 32, 16000, 2.0)
    expected = TINY[family(lm)].tokens
    assert expected[2.0] == 2 * lm.tokens_per_second
    for seconds, tokens in expected.items():
        clip = tone(seconds)
        inputs = lm.prepare([clip], ["What?"])
        assert inputs.audio_tokens.tolist() == [tokens] == [lm.audio_token_count(clip.size)]
        heard = int((inputs.tensors["input_ids"] == lm.dialogue.audio_token_id).sum())
        assert heard == (TINY[family(lm)].silence or tokens)


def test_every_position_has_its_role(lm: AudioLM, mixed: Inputs) -> None:
    tiny = TINY[family(lm)]
    assert torch.stack([mixed.audio, mixed.text, mixed.prefix, mixed.padding]).sum(0).eq(1).all()
    assert mixed.tensors["attention_mask"].bool().equal(~mixed.padding)
    sound = mixed.tensors["input_ids"] == lm.dialogue.audio_token_id
    for row, question in enumerate(QUESTIONS):
        ids, prefix = mixed.tensors["input_ids"][row], mixed.prefix[row]
        assert decoded(lm, ids[prefix & ~sound[row]]) == tiny.prefix
        assert decoded(lm, ids[mixed.text[row]]) == tiny.after.format(question)
        silence = int((prefix & sound[row]).sum())
        assert silence == (tiny.silence - int(mixed.audio_tokens[row]) if tiny.silence else 0)
        first = int(mixed.audio[row].nonzero()[0])
        assert sound[row].nonzero().flatten().tolist() == list(
            range(first, first + int(mixed.audio_tokens[row]) + silence)
        ), "one run, the sound first"


def test_the_audio_positions_get_what_the_encoder_hears(lm: AudioLM, mixed: Inputs) -> None:
    sound = mixed.tensors["input_ids"] == lm.dialogue.audio_token_id
    embeds = embedded(lm, mixed).tensors["inputs_embeds"]
    words = lm.model.get_input_embeddings()(mixed.tensors["input_ids"])
    assert embeds[~sound].equal(words[~sound])
    for row, clip in enumerate(CLIPS):
        alone = lm.hear([clip]).tensors
        with torch.no_grad():
            if family(lm) == "qwen2_audio":  # its tower wants a mask of its own: the clip alone through the model
                one = lm.prepare([clip], ["What?"])
                heard = embedded(lm, one).tensors["inputs_embeds"][one.audio]
            else:
                heard = lm.model.get_audio_features(**alone).pooler_output
        torch.testing.assert_close(embeds[row][sound[row]], heard, atol=1e-5, rtol=0)
    other = embedded(lm, lm.prepare([tone(2.0, 3000), *CLIPS[1:]], QUESTIONS)).tensors["inputs_embeds"]
    assert (other[0][mixed.audio[0]] - embeds[0][mixed.audio[0]]).abs().max() > 1e-3, "it hears"
    assert other[1:].equal(embeds[1:])


def test_activations_equal_hidden_states(lm: AudioLM, mixed: Inputs) -> None:
    got = lm.activations(mixed, [0, 2, 3])
    positions = (mixed.tensors["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        out = lm.model(**mixed.tensors, position_ids=positions, output_hidden_states=True, use_cache=False)
        normed = lm.model.get_decoder().norm(got[3])
    for layer in (0, 2):
        torch.testing.assert_close(
            got[layer][~mixed.padding], out.hidden_states[layer + 1][~mixed.padding], atol=1e-4, rtol=0
        )
    torch.testing.assert_close(normed[~mixed.padding], out.hidden_states[4][~mixed.padding], atol=1e-4, rtol=0)
    hooks = hooks_left(lm)
    lm.activations(mixed, [1])
    assert hooks_left(lm) == hooks


def test_padding_and_company_change_nothing(lm: AudioLM, mixed: Inputs) -> None:
    together, answers = lm.activations(mixed, [0, 3]), lm.generate(mixed, 6)
    assert mixed.padding.any()
    assert any(answers)
    for row in (1, 2, 0):
        alone = lm.prepare([CLIPS[row]], [QUESTIONS[row]])
        for layer, x in lm.activations(alone, [0, 3]).items():
            torch.testing.assert_close(together[layer][row][~mixed.padding[row]], x[0], atol=1e-4, rtol=0)
        assert lm.generate(alone, 6) == [answers[row]]


def test_sound_encoded_once_gives_the_same(lm: AudioLM, mixed: Inputs) -> None:
    once, answers = embedded(lm, mixed), ["A dog.", "Rain", "Car horn"]
    assert lm.generate(once, 6) == lm.generate(mixed, 6)
    full = lm.prepare(CLIPS, QUESTIONS, answers)
    appended = with_answers(lm, once, answers)
    for name in ("audio", "text", "answer", "prefix", "padding", "audio_tokens"):
        assert getattr(appended, name).equal(getattr(full, name)), name
    ids = [one.tensors["input_ids"][~full.padding] for one in (appended, full)]
    assert ids[0].equal(ids[1])
    torch.testing.assert_close(
        lm.activations(appended, [3])[3][~full.padding], lm.activations(full, [3])[3][~full.padding], atol=1e-4, rtol=0
    )
    assert decoded(lm, full.tensors["input_ids"][0][full.answer[0]]) == "A dog." + TINY[family(lm)].end
    torch.testing.assert_close(lm.answer_log_probs(appended), lm.answer_log_probs(full), atol=1e-3, rtol=0)


def sae_of(lm: AudioLM) -> TopKSAE:
    with seeded(1):
        return TopKSAE(SAEConfig(hookpoint="layers.1", d_in=lm.d_model, expansion=2, k=4, recipe="recommended"))


def test_steering_changes_logits_and_leaves_prefix_and_silence(lm: AudioLM, mixed: Inputs) -> None:
    sae, positions = sae_of(lm), (mixed.tensors["attention_mask"].cumsum(-1) - 1).clamp(min=0)

    def logits(clamp: Clamp | None) -> Tensor:
        with torch.no_grad():
            if clamp is None:
                return lm.model(**mixed.tensors, position_ids=positions, use_cache=False).logits
            with Steering(lm, sae, clamp, mixed, sink_factor=None):
                return lm.model(**mixed.tensors, position_ids=positions, use_cache=False).logits

    plain = logits(None)
    same = logits(Clamp((), (), error_term=True))
    torch.testing.assert_close(same[~mixed.padding], plain[~mixed.padding], atol=1e-3, rtol=0)
    strong = logits(Clamp((3,), (200.0,)))
    assert (strong - plain)[:, -1].abs().max() > 1e-2
    before, after = lm.activations(mixed, [1])[1], None
    with Steering(lm, sae, Clamp((3,), (200.0,)), mixed, sink_factor=None) as active:
        after = lm.activations(mixed, [1])[1]
    assert after[mixed.prefix].equal(before[mixed.prefix])
    assert active.report.positions == int((mixed.audio | mixed.prompt).sum())


def test_steered_answers_and_slopes(lm: AudioLM) -> None:
    sae = sae_of(lm)
    baseline = steer(lm, None, None, CLIPS, QUESTIONS, max_new_tokens=6).texts
    steered = steer(lm, sae, Clamp((3,), (200.0,)), CLIPS, QUESTIONS, max_new_tokens=6).texts
    assert steered != baseline
    bench = Bench(lm, sae, max_new_tokens=4)
    asked = bench.ask(CLIPS, "What?", lambda _: "source")
    slope = bench.answer_slope(asked, "male", "female", "all", [0, 1])
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_the_output_side_fits(lm: AudioLM) -> None:
    side = output_side(lm)
    assert side.norm.shape == (lm.d_model,)
    assert side.unembedding.shape == (len(side.tokens), lm.d_model)


def test_unusable_clips_and_texts_are_refused(lm: AudioLM) -> None:
    with pytest.raises(AudioError, match=r"lasts 2\.01 s; cut it into at most 2 s"):
        lm.prepare([tone(2.01)], ["What?"])
    with pytest.raises(AudioError, match="under two audio tokens"):
        lm.prepare([tone(lm.shortest_s - 1 / 16000)], ["What?"])
    assert lm.prepare([tone(lm.shortest_s)], ["What?"]).audio_tokens.tolist() == [2]
    with pytest.raises(AudioError, match="resample them to 16000 Hz"):
        lm.prepare([tone(1)], ["What?"], sampling_rate=8000)
    mark = lm.processor.tokenizer.convert_ids_to_tokens(lm.dialogue.audio_token_id)
    for token in (mark, TINY[family(lm)].end):
        with pytest.raises(InputError, match="contains the control token"):
            lm.prepare([tone(1)], [f"What {token}?"])
