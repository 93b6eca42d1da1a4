from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from ard.models.audio_lm import AudioLM
from ard.models.common import AudioError, ModelError
from ard.models.inputs import InputError, Inputs, build_inputs
from tests.fixtures.models import (
    hooks_left,
    save_tiny_audio_lm,
    save_tiny_clap,
    tiny_audio_model,
    tiny_audio_processor,
    tiny_lm,
    tone,
)

QUESTION = "What sound is this?"


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    return tiny_lm()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_audio_lm(tmp_path_factory.mktemp("audio_lm"))


@pytest.fixture(scope="module")
def mixed(lm: AudioLM) -> Inputs:
    return lm.prepare(*MIXED)


MIXED = ([tone(2.0), tone(0.5, 900), tone(1.2, 200)], [QUESTION, "Is the speaker female or male?", "What?"])


def test_sizes_come_from_the_checkpoint(lm: AudioLM) -> None:
    assert (lm.n_layers, lm.d_model, lm.sampling_rate, lm.window_s, lm.tokens_per_second) == (4, 32, 16000, 2.0, 25.0)
    other = tiny_audio_processor(window_s=3, mels=20)
    assert AudioLM(tiny_audio_model(other, layers=2), other).window_s == 3.0


@pytest.mark.parametrize(("seconds", "tokens"), [(2.0, 50), (1.0, 25), (0.5, 12), (0.09, 2), (0.061, 2)])
def test_audio_tokens_per_clip(lm: AudioLM, seconds: float, tokens: int) -> None:
    clip = tone(seconds)
    inputs = lm.prepare([clip], [QUESTION])
    assert inputs.audio_tokens.tolist() == [tokens]
    assert lm.audio_token_count(clip.size) == tokens
    assert int((inputs.tensors["input_ids"] == lm.model.config.audio_token_id).sum()) == tokens


def test_every_position_has_one_role(lm: AudioLM, mixed: Inputs) -> None:
    roles = torch.stack([mixed.audio, mixed.text, mixed.prefix, mixed.padding]).sum(0)
    assert roles.eq(1).all()
    assert mixed.tensors["attention_mask"].bool().equal(~mixed.padding)
    assert mixed.padding[:, -1].logical_not().all()  # padding is on the left
    decode = lm.processor.tokenizer.decode
    ids = mixed.tensors["input_ids"]
    prefixes = {decode(row[mask]) for row, mask in zip(ids, mixed.prefix, strict=True)}
    assert prefixes == {
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nAudio 1: <|audio_bos|>"
    }
    assert decode(ids[0][mixed.text[0]]) == f"<|audio_eos|>\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert not mixed.answer.any()


def test_answers_follow_the_prompt_and_end_the_turn(lm: AudioLM) -> None:
    inputs = lm.prepare([tone(1), tone(0.4)], [QUESTION] * 2, ["A dog.", "Rain and wind."])
    decode = lm.processor.tokenizer.decode
    said = [decode(ids[mask]) for ids, mask in zip(inputs.tensors["input_ids"], inputs.answer, strict=True)]
    assert said == ["A dog.<|im_end|>", "Rain and wind.<|im_end|>"]
    assert (inputs.answer & ~inputs.text).sum() == 0
    assert inputs.prompt.equal(inputs.text & ~inputs.answer)
    open_end = lm.prepare([tone(1)], [QUESTION], ["A dog."], end_answer=False)
    assert decode(open_end.tensors["input_ids"][open_end.answer]) == "A dog."


def test_the_model_hears(lm: AudioLM) -> None:
    loud, other = (lm.prepare([clip], [QUESTION]) for clip in (tone(1, 300), tone(1, 3000)))
    assert loud.tensors["input_features"].shape == (1, 16, 200)
    a, b = (lm.activations(one, [0])[0][one.audio] for one in (loud, other))
    assert (a - b).abs().max() > 1e-2


def test_activations_equal_hidden_states(lm: AudioLM, mixed: Inputs) -> None:
    got = lm.activations(mixed, [0, 2, 3])
    with torch.no_grad():
        hidden = lm.model(**mixed.tensors, output_hidden_states=True).hidden_states
        assert got[0].dtype == torch.float32
        for layer in (0, 2):
            torch.testing.assert_close(got[layer][~mixed.padding], hidden[layer + 1][~mixed.padding], atol=1e-4, rtol=0)
        normed = lm.model.get_decoder().norm(got[3])  # after the last layer transformers reports the normed states
        torch.testing.assert_close(normed[~mixed.padding], hidden[4][~mixed.padding], atol=1e-4, rtol=0)
    hooks = hooks_left(lm)  # transformers keeps its own for hidden states
    lm.activations(mixed, [0, 2, 3])
    assert hooks_left(lm) == hooks


def test_activations_stop_after_the_last_asked_layer(lm: AudioLM, mixed: Inputs) -> None:
    ran = []
    handles = [lm.layer(i).register_forward_hook(lambda *_, i=i: ran.append(i)) for i in range(lm.n_layers)]
    handles.append(lm.model.lm_head.register_forward_hook(lambda *_: ran.append("head")))
    try:
        lm.activations(mixed, [1, 0])
    finally:
        for handle in handles:
            handle.remove()
    assert ran == [0, 1]


def test_left_padding_changes_nothing(lm: AudioLM, mixed: Inputs) -> None:
    together = lm.activations(mixed, [0, 3])
    assert mixed.padding.any()
    for i, (clip, prompt) in enumerate(zip(*MIXED, strict=True)):
        alone = lm.prepare([clip], [prompt])
        for layer, x in lm.activations(alone, [0, 3]).items():
            torch.testing.assert_close(together[layer][i][~mixed.padding[i]], x[0], atol=1e-4, rtol=0)


def test_the_shortest_clips_equal_those_in_company(lm: AudioLM) -> None:
    short, long = tone(lm.shortest_s), tone(1.0)
    alone = lm.prepare([short], [QUESTION])
    company = lm.prepare([short, long], [QUESTION] * 2)
    expected = lm.activations(company, [3])[3][0][~company.padding[0]]
    torch.testing.assert_close(lm.activations(alone, [3])[3][0], expected, atol=1e-4, rtol=0)
    assert lm.generate(alone, 4)[0] == lm.generate(company, 4)[0]


def test_an_unexpanded_prompt_is_refused(lm: AudioLM) -> None:
    features = {"input_features": torch.zeros(1, 16, 200)}
    with pytest.raises(InputError, match="1 audio tokens where the encoder gives 25"):
        build_inputs([[5, 9, 6]], [[]], features, expected_audio=[25], audio_token_id=9, pad_token_id=0)
    with pytest.raises(InputError, match="in one run"):
        build_inputs([[9, 5, 9]], [[]], features, expected_audio=[2], audio_token_id=9, pad_token_id=0)


def test_inputs_are_what_the_processor_makes(lm: AudioLM) -> None:
    """Features and audio tokens made apart equal the processor's own, clip by clip, padding aside."""
    turn = [{"type": "audio", "audio_url": ""}, {"type": "text", "text": ""}]
    texts = [
        lm.processor.apply_chat_template(
            [{"role": "user", "content": [turn[0], turn[1] | {"text": prompt}]}],
            add_generation_prompt=True,
            tokenize=False,
        )
        for prompt in MIXED[1]
    ]
    out = lm.processor(text=texts, audio=MIXED[0], sampling_rate=16000, padding=True, return_tensors="pt")
    heard = lm.hear(MIXED[0])
    assert len(heard) == len(MIXED[0])
    for inputs in (lm.prepare(MIXED[0], MIXED[1]), lm.prepare(heard, MIXED[1])):
        for name in ("input_features", "feature_attention_mask", "input_ids", "attention_mask"):
            assert inputs.tensors[name].equal(out[name]), name


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (tone(2.01), r"lasts 2\.01 s; cut it into at most 2 s"),
        (tone(0.02), r"0\.0200 s, under two audio tokens; give 0\.0601 s or more"),
        (tone(0.06), "under two audio tokens"),
        (np.zeros(0, np.float32), "empty"),
        (np.zeros((2, 100), np.float32), "mono"),
        (np.zeros(8000, np.int16), "int16"),
        (np.full(8000, np.nan, np.float32), "NaN"),
    ],
)
def test_unusable_clips_are_refused(lm: AudioLM, clip: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        lm.prepare([clip], [QUESTION])


def test_other_rates_are_refused(lm: AudioLM) -> None:
    with pytest.raises(AudioError, match="44100 Hz; resample them to 16000 Hz"):
        lm.prepare([tone(1)], [QUESTION], sampling_rate=44100)


@pytest.mark.parametrize("token", ["<|AUDIO|>", "<|im_end|>", "<|endoftext|>", "<|audio_bos|>"])
def test_control_tokens_in_texts_are_refused(lm: AudioLM, token: str) -> None:
    with pytest.raises(InputError, match="Prompt 0 contains the control token"):
        lm.prepare([tone(1)], [f"What {token}?"])
    with pytest.raises(InputError, match="Answer 0 contains the control token"):
        lm.prepare([tone(1)], [QUESTION], [token])


def test_counts_must_agree(lm: AudioLM) -> None:
    with pytest.raises(InputError, match="2 clips, 1 prompts"):
        lm.prepare([tone(1)] * 2, [QUESTION])
    with pytest.raises(InputError, match="1 clips, 1 prompts, 2 answers"):
        lm.prepare([tone(1)], [QUESTION], ["a", "b"])
    with pytest.raises(InputError, match="1 clips, 1 prompts, 0 answers"):
        lm.prepare([tone(1)], [QUESTION], [])
    with pytest.raises(InputError, match="No clip"):
        lm.prepare([], [])


def test_hookpoints(lm: AudioLM) -> None:
    assert lm.hookpoint(3) == "layers.3"
    assert lm.layer_of("layers.3") == 3
    assert lm.layer(1) is lm.model.model.language_model.layers[1]
    for bad in ("layers.4", "layers.-1", "layers.x", "blocks.1", "layers"):
        with pytest.raises(ValueError, match="0 to 3"):
            lm.layer_of(bad)
    with pytest.raises(ValueError, match="Layer 4 does not exist"):
        lm.layer(4)
    with pytest.raises(ValueError, match="No layer"):
        lm.activations(lm.prepare([tone(1)], [QUESTION]), [])


def test_generation_batched_equals_one_by_one(lm: AudioLM, mixed: Inputs) -> None:
    together = lm.generate(mixed, max_new_tokens=6)
    alone = [
        lm.generate(lm.prepare([clip], [prompt]), max_new_tokens=6)[0] for clip, prompt in zip(*MIXED, strict=True)
    ]
    assert together == alone
    assert any(together)


def test_generation_is_plain_greedy(lm: AudioLM) -> None:
    inputs = lm.prepare([tone(1)], [QUESTION])
    ids = list(inputs.tensors["input_ids"][0].tolist())
    for _ in range(5):
        tensors = inputs.tensors | {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        }
        with torch.no_grad():
            ids.append(int(lm.model(**tensors).logits[0, -1].argmax()))
    new = ids[inputs.length :]
    assert lm.dialogue.stop_ids.isdisjoint(new)
    assert lm.generate(inputs, max_new_tokens=5) == [lm.processor.tokenizer.decode(new).strip()]


def test_a_checkpoints_repetition_penalty_does_not_act(folder: Path, tmp_path: Path) -> None:
    processor = tiny_audio_processor()
    model = tiny_audio_model(processor)
    model.generation_config = GenerationConfig(
        repetition_penalty=9.0, do_sample=True, temperature=0.1, eos_token_id=[1, 2]
    )
    loud = AudioLM(model, processor)
    assert {1, 2} < loud.dialogue.stop_ids
    assert loud.dialogue.sampling["temperature"] == 0.1
    inputs = loud.prepare([tone(1)], [QUESTION])
    assert loud.generate(inputs, 5) == tiny_lm().generate(inputs, 5)


def test_answers_end_at_the_end_of_turn(lm: AudioLM) -> None:
    assert lm.processor.tokenizer.convert_ids_to_tokens(lm.dialogue.end_id) == "<|im_end|>"
    ids = lm.processor.tokenizer("a dog")["input_ids"]
    assert lm.dialogue.text([*ids, lm.dialogue.end_id, *ids]) == "a dog"
    assert lm.dialogue.text([lm.dialogue.end_id]) == ""


def test_sampling_is_seeded(lm: AudioLM, mixed: Inputs) -> None:
    draw = lambda seed: lm.generate(mixed, 8, seed=seed, do_sample=True)  # noqa: E731
    before = torch.random.get_rng_state()
    assert draw(1) == draw(1)
    assert torch.random.get_rng_state().equal(before)
    assert any(draw(seed) != draw(1) for seed in range(2, 6))


def test_generation_can_be_stopped(lm: AudioLM, mixed: Inputs) -> None:
    calls: list[int] = []
    lm.generate(mixed, 40, should_stop=lambda: calls.append(1) or len(calls) >= 2)
    assert len(calls) == 2


def test_generation_refuses_answers_and_no_tokens(lm: AudioLM) -> None:
    with pytest.raises(InputError, match="already hold answers"):
        lm.generate(lm.prepare([tone(1)], [QUESTION], ["A dog."]))
    with pytest.raises(InputError, match="max_new_tokens is 0"):
        lm.generate(lm.prepare([tone(1)], [QUESTION]), 0)


def test_log_probs_equal_the_full_logits(lm: AudioLM) -> None:
    inputs = lm.prepare([tone(1.3), tone(0.3)], [QUESTION, "What?"], ["A dog barks.", "Rain"])
    with torch.no_grad():
        logits = lm.model(**inputs.tensors).logits.log_softmax(-1)
    ids = inputs.tensors["input_ids"]
    expected = []
    for row in range(2):
        places = inputs.answer[row].nonzero().flatten().tolist()
        expected.append(sum(float(logits[row, p - 1, ids[row, p]]) for p in places))
    torch.testing.assert_close(lm.answer_log_probs(inputs), torch.tensor(expected), atol=1e-3, rtol=0)
    mean = -torch.tensor(expected) / inputs.answer.sum(-1)
    torch.testing.assert_close(lm.next_token_loss(inputs), mean, atol=1e-3, rtol=0)


def test_log_probs_need_answers(lm: AudioLM, mixed: Inputs) -> None:
    with pytest.raises(InputError, match="no answers"):
        lm.next_token_loss(mixed)


def test_half_precision_checkpoints_load_as_float32_on_cpu(folder: Path) -> None:
    loaded = AudioLM.load(folder)
    assert loaded.model.dtype == torch.float32
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.name == folder.name
    assert len(loaded.revision) == 12
    assert loaded.processor.tokenizer.padding_side == "left"
    assert loaded.processor.feature_extractor.padding_side == "right"
    original = tiny_lm().prepare([tone(1)], [QUESTION])
    copy = loaded.prepare([tone(1)], [QUESTION])
    assert copy.tensors["input_ids"].equal(original.tensors["input_ids"])


def test_revision_follows_the_weights(tmp_path: Path, folder: Path) -> None:
    same = save_tiny_audio_lm(tmp_path / "same")
    other = save_tiny_audio_lm(tmp_path / "other", seed=1)
    first = AudioLM.load(folder).revision
    assert AudioLM.load(same).revision == first
    assert AudioLM.load(other).revision != first


def test_load_refuses_what_does_not_fit(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"float16 does not work on cpu"):
        AudioLM.load(folder, dtype=torch.float16)
    with pytest.raises(ModelError, match=r"no config\.json"):
        AudioLM.load(tmp_path)
    with pytest.raises(ModelError, match="neither a model folder nor a hub id"):
        AudioLM.load(tmp_path / "missing")
    clap = save_tiny_clap(tmp_path / "clap")
    with pytest.raises(
        ModelError,
        match="'clap' model, which no AudioLLM family here serves; give a checkpoint of model_type 'qwen2_audio'",
    ):
        AudioLM.load(clap)


def test_broken_weights_are_one_sentence(tmp_path: Path) -> None:
    broken = save_tiny_audio_lm(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"model in the folder .* does not load"):
        AudioLM.load(broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="does not load"):
        AudioLM.load(broken)


def test_missing_and_misshapen_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(one for one in weights if "layers.0.mlp" in one)
    for changed in ({}, {name: torch.zeros(2, 2)}):
        target = tmp_path / str(len(changed))
        shutil.copytree(folder, target)
        kept = {key: value for key, value in weights.items() if key != name} | changed
        save_file(kept, target / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"layers\.0\.mlp|does not load"):
            AudioLM.load(target)


def test_window_and_mels_must_agree_with_the_encoder() -> None:
    processor = tiny_audio_processor()
    with pytest.raises(
        ModelError, match="chunk_length of 2 s makes 200 mel frames, but max_source_positions=200 needs 400"
    ):
        AudioLM(tiny_audio_model(processor, positions=200), processor)
    with pytest.raises(ModelError, match="makes 20 mels and the encoder takes 16"):
        AudioLM(tiny_audio_model(processor), tiny_audio_processor(mels=20))


def test_the_console_stays_clean(folder: Path) -> None:
    code = (
        "import sys\nfrom ard.models.audio_lm import AudioLM\nimport ard.models.clap, ard.steering, numpy as np\n"
        "lm = AudioLM.load(sys.argv[1])\n"
        "lm.generate(lm.prepare([np.zeros(1000, np.float32)], ['What?']), 2)\n"
        "lm.generate(lm.prepare([np.zeros(16000, np.float32)] * 2, ['What?', 'Q']), 2, seed=1, do_sample=True)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
