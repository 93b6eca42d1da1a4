"""Checkpoints of the families: saved and loaded, what each has of its own, and what is refused."""

from __future__ import annotations

import json
from base64 import b64encode
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile as sf
import torch
from transformers import GenerationConfig, Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from ard.models.audio_lm import AudioLM
from ard.models.common import ModelError
from ard.models.families import FAMILIES, family_of
from ard.models.families.base import Parts
from ard.models.inputs import InputError
from ard.output_tokens import output_side
from tests.fixtures.families import (
    TINY,
    TURNS,
    VOXTRAL_SPECIALS,
    extractor,
    save_tiny_family,
    tiny_family,
    voxtral_model,
)
from tests.fixtures.models import tone

QUESTIONS = ["What sound is this?", "Is the speaker female or male?", "What?"]
CLIPS = [tone(2.0), tone(0.5, 900), tone(1.2, 200)]


@pytest.mark.parametrize("name", list(TINY))
def test_a_saved_checkpoint_is_the_same_model(name: str, tmp_path: Path) -> None:
    folder = save_tiny_family(name, tmp_path / "lm")
    loaded, built = AudioLM.load(folder), tiny_family(name)
    assert loaded.model.config._attn_implementation == "sdpa"
    inputs, expected = loaded.prepare(CLIPS, QUESTIONS), built.prepare(CLIPS, QUESTIONS)
    assert inputs.tensors["input_ids"].equal(expected.tensors["input_ids"])
    torch.testing.assert_close(
        loaded.activations(inputs, [3])[3][~inputs.padding], built.activations(expected, [3])[3][~inputs.padding]
    )
    assert loaded.generate(inputs, 5) == built.generate(expected, 5)
    assert len(loaded.revision) == 12
    low = AudioLM.load(folder, dtype=torch.bfloat16)
    assert low.model.dtype == torch.bfloat16
    assert low.activations(low.prepare(CLIPS, QUESTIONS), [3])[3].isfinite().all()


def test_inputs_are_what_audio_flamingos_processor_makes() -> None:
    lm = tiny_family("audioflamingo3")
    texts = [
        lm.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": question}]}],
            add_generation_prompt=True,
            tokenize=False,
        )
        for question in QUESTIONS
    ]
    out = lm.processor(text=texts, audio=CLIPS, sampling_rate=16000, return_tensors="pt")
    inputs = lm.prepare(CLIPS, QUESTIONS)
    for name in ("input_ids", "attention_mask", "input_features", "input_features_mask"):
        assert inputs.tensors[name].equal(out[name]), name


def test_the_thinker_is_taken_out_of_a_whole_omni_checkpoint(tmp_path: Path) -> None:
    thinker, parts = TINY["qwen2_5_omni_thinker"].build()
    config = Qwen2_5OmniConfig(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    whole = Qwen2_5OmniForConditionalGeneration(config)
    whole.thinker.load_state_dict(thinker.state_dict())
    whole.save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    parts.feature_extractor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        AudioLM.load(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(parts.chat_template)
    loaded, built = AudioLM.load(tmp_path), tiny_family("qwen2_5_omni_thinker")
    inputs = loaded.prepare(CLIPS, QUESTIONS)
    assert loaded.generate(inputs, 5) == built.generate(built.prepare(CLIPS, QUESTIONS), 5)


def test_an_unknown_family_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'granite_speech' model, which no AudioLLM family here serves") as error:
        family_of("granite_speech", "ibm/granite")
    for one in FAMILIES:
        assert all(kind in str(error.value) for kind in one.model_types)
    folder = save_tiny_family("audioflamingo3", tmp_path / "lm")
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"model_type": "audioflamingo3"', '"model_type": "glm9"'))
    with pytest.raises(ModelError, match="glm9"):
        AudioLM.load(folder)


def test_a_question_before_the_clip_is_refused() -> None:
    model, parts = TINY["qwen2_5_omni_thinker"].build()
    late = "<|im_start|>user\n{{ messages[0]['content'][1]['text'] if messages[0]['content'] is not string }}"
    late += "<|AUDIO|><|im_end|>\nANSWER<|im_end|>"
    with pytest.raises(ModelError, match="puts the question before the clip"):
        AudioLM(model, Parts(parts.tokenizer, parts.feature_extractor, "<|AUDIO|>", late))
    deaf = TURNS.replace("SOUND", "")
    with pytest.raises(ModelError, match="gives 0 audio tokens for one clip"):
        AudioLM(model, Parts(parts.tokenizer, parts.feature_extractor, "<|AUDIO|>", deaf))


def test_a_voxtral_tokenizer_without_its_marks_is_refused() -> None:
    model, processor = TINY["voxtral"].build()
    processor.tokenizer = TINY["audioflamingo3"].build()[1].tokenizer
    with pytest.raises(ModelError, match="has no token"):
        AudioLM(model, processor)


def test_other_settings_of_the_checkpoint_do_not_act() -> None:
    """A published generation_config samples and penalises; answers here are greedy all the same."""
    model, processor = TINY["audioflamingo3"].build()
    model.generation_config = GenerationConfig(do_sample=True, repetition_penalty=9.0, temperature=0.1)
    loud, plain = AudioLM(model, processor), tiny_family("audioflamingo3")
    inputs = plain.prepare(CLIPS, QUESTIONS)
    assert loud.generate(inputs, 5) == plain.generate(inputs, 5)


def tekken(path: Path) -> Path:
    """A tokenizer file as the published Voxtral checkpoints have, of 144 words beside the bytes and a 2 s window."""
    specials = VOXTRAL_SPECIALS
    words = [bytes([i]) for i in range(256)] + [f" w{i:02d}".encode() for i in range(144)]
    content = {
        "config": {
            "pattern": r"\s?\w+|\s+|[^\s\w]+",
            "num_vocab_tokens": len(words),
            "default_vocab_size": len(words) + len(specials),
            "default_num_special_tokens": len(specials),
            "version": "v7",
        },
        "vocab": [{"rank": i, "token_bytes": b64encode(w).decode(), "token_str": None} for i, w in enumerate(words)],
        "special_tokens": [{"rank": i, "token_str": one, "is_control": True} for i, one in enumerate(specials)],
        "audio": {
            "sampling_rate": 16000,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 16, "hop_length": 160, "window_size": 400},
            "chunk_length_s": 2.0,
        },
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.skipif(find_spec("mistral_common") is None, reason="mistral-common is not installed (extra `voxtral`)")
def test_voxtral_inputs_are_what_mistral_common_makes(tmp_path: Path) -> None:
    from transformers import VoxtralProcessor
    from transformers.tokenization_mistral_common import MistralCommonBackend

    tokenizer = MistralCommonBackend(tokenizer_path=str(tekken(tmp_path / "tekken.json")))
    model = voxtral_model(tokenizer)
    model.save_pretrained(tmp_path)
    VoxtralProcessor(extractor(), tokenizer).save_pretrained(tmp_path)
    lm = AudioLM.load(tmp_path)
    assert type(lm.processor.tokenizer).__name__ == "MistralCommonBackend"
    inputs = lm.prepare(CLIPS, QUESTIONS)
    for row, question in enumerate(QUESTIONS):
        sf.write(tmp_path / "clip.wav", CLIPS[row], 16000, subtype="FLOAT")
        turn = [{"type": "audio", "path": str(tmp_path / "clip.wav")}, {"type": "text", "text": question}]
        theirs = lm.processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": turn}], tokenize=True, return_dict=True, return_tensors=None
        )
        ids = theirs["input_ids"] if isinstance(theirs["input_ids"][0], int) else theirs["input_ids"][0]
        assert inputs.tensors["input_ids"][row][~inputs.padding[row]].tolist() == list(ids)
    together = lm.generate(inputs, 5)
    assert together == [lm.generate(lm.prepare([c], [q]), 5)[0] for c, q in zip(CLIPS, QUESTIONS, strict=True)]
    assert len(output_side(lm).tokens) == len(tokenizer)
    with pytest.raises(InputError, match="contains the control token"):
        lm.prepare([tone(1)], ["What [AUDIO]?"])
