"""The AudioLLM: any family in `ard/models/families` behind one interface.

Everything about windows, mels, tokens and layers is read from the checkpoint; nothing here is set for one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from ard.models.common import AudioError, check_audios, revision_of
from ard.models.computing import Computing
from ard.models.dialogue import Dialogue
from ard.models.families import family_of
from ard.models.families.base import MIN_AUDIO_TOKENS, AudioRun
from ard.models.inputs import Features, Inputs, build_inputs, expect_matching
from ard.models.loading import Quantisation, load_audio_lm


class AudioLM(Computing):
    """A loaded AudioLLM with its processor.

    Attributes:
        model, processor: the transformers objects.
        family: what is particular to this kind of checkpoint.
        name: folder name or hub id.
        n_layers, d_model: decoder layers and the width of the residual stream.
        sampling_rate: Hz the clips must have.
        window_s: longest clip in seconds; longer ones are refused, never cut.
        shortest_s: shortest clip in seconds; shorter ones give fewer than two audio tokens and are refused.
        tokens_per_second: audio tokens per second of sound.
    """

    def __init__(
        self, model: Any, processor: Any, source: Path | str = "in-memory", quantisation: Quantisation = "none"
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.name = source.name if isinstance(source, Path) else source
        self._source, self._quantisation = source, quantisation
        self.family = family_of(model.config.model_type, self.name)
        decoder = model.config.text_config
        self.n_layers, self.d_model = int(decoder.num_hidden_layers), int(decoder.hidden_size)
        front = self.family.front_end(model, processor)
        self.sampling_rate, self.window_s, self.tokens_per_second = (
            front.sampling_rate,
            front.window_s,
            front.tokens_per_s,
        )
        self.shortest_s = front.shortest_samples / self.sampling_rate
        self._window_samples = front.window_samples
        audio_token_id = self.family.audio_token_id(model, processor)
        self.dialogue = Dialogue(self.family, processor, model.generation_config, audio_token_id)
        self._audio_run = lru_cache(maxsize=4096)(self._audio_run_uncached)
        model.generation_config = GenerationConfig(
            eos_token_id=sorted(self.dialogue.stop_ids), pad_token_id=self.dialogue.pad_id
        )

    @classmethod
    def load(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        *,
        quantisation: Quantisation = "none",
        device_map: str = "",
        batch: int = 1,
    ) -> AudioLM:
        """Load from a folder or a hub id with sdpa attention, after a look at whether it fits.

        Args:
            path_or_id: folder written by `save_pretrained`, or hub id.
            device: where to compute, such as "cpu" or "cuda".
            dtype: left out, float32 on CPU (float16 checkpoints too) and bfloat16 on accelerators.
            quantisation: `int8` or `int4`: the linear layers' weights in 8 or 4 bits (bitsandbytes).
            device_map: `auto`, `balanced` or `sequential`: spread over all devices (accelerate); empty: on `device`.
            batch: clips a forward pass will have, for the memory estimate.

        Raises:
            ModelError: not found, no such family, a precision or package the machine lacks, too little memory, or model
                and processor disagree.
        """
        loaded = load_audio_lm(path_or_id, device, dtype, quantisation=quantisation, device_map=device_map, batch=batch)
        return cls(loaded.model, loaded.processor, loaded.source, quantisation)

    @cached_property
    def revision(self) -> str:
        """sha256 over the weight files (12 hex digits) for a folder, commit hash for a hub id; `+int4` if quantised."""
        how = "" if self._quantisation == "none" else f"+{self._quantisation}"
        return revision_of(self._source, self.model.config) + how

    def audio_token_count(self, samples: int) -> int:
        """Audio tokens that hear a clip of `samples` samples: T of Eq. 2."""
        return self._audio_run(samples).sound

    def _audio_run_uncached(self, samples: int) -> AudioRun:
        return self.family.audio_run(self.model, self.processor, samples)

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt with its turn marks, the audio counted as one; more than `Inputs.prompt` by the prefix."""
        return self.dialogue.prompt_tokens(prompt)

    def hear(self, audios: Sequence[np.ndarray], *, sampling_rate: int | None = None) -> Features:
        """The clips as the encoder takes them, for `prepare`; safe in another thread, in page-locked memory for a GPU.

        Raises:
            AudioError: a clip is not usable, too long or too short for two audio tokens, or at another rate.
        """
        clips = self._check_clips(audios, sampling_rate)
        tensors = self.family.tensors(self.model, self.processor, clips)
        features = Features(tensors, tuple(clip.size for clip in clips))
        return features.pinned() if self.device.type == "cuda" else features

    def prepare(
        self,
        audios: Sequence[np.ndarray] | Features,
        prompts: Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        sampling_rate: int | None = None,
        end_answer: bool = True,
    ) -> Inputs:
        """Clips and questions as the model's tensors, with the role of every position.

        Args:
            audios: mono float clips at `self.sampling_rate`, none longer than the window; or what `hear` made of them.
            prompts: the question about each clip.
            answers: where given, the assistant's turn is filled in (for losses and for activations).
            sampling_rate: of the clips; checked when given.
            end_answer: close the answer with the end-of-turn token.

        Raises:
            AudioError: a clip is not usable, too long or too short for two audio tokens, or at another rate.
            InputError: counts differ or a text holds a control token.
        """
        expect_matching(len(audios), len(prompts), None if answers is None else len(answers))
        self.dialogue.check(prompts, answers or [])
        features = audios if isinstance(audios, Features) else self.hear(audios, sampling_rate=sampling_rate)
        runs = [self._audio_run(samples) for samples in features.samples]
        inputs = build_inputs(
            self.dialogue.prompt_ids(prompts, [sum(run) for run in runs]),
            self.dialogue.answer_ids(answers, end_answer) if answers else [[]] * len(features),
            features.tensors,
            expected_audio=[sum(run) for run in runs],
            audio_token_id=self.dialogue.audio_token_id,
            pad_token_id=self.dialogue.pad_id,
            silence=[run.silence for run in runs],
        )
        return inputs.to(self.device)

    def _check_clips(self, audios: Sequence[np.ndarray], sampling_rate: int | None) -> list[np.ndarray]:
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise AudioError(f"The clips are at {sampling_rate} Hz; resample them to {self.sampling_rate} Hz first.")
        clips = check_audios(audios)
        for index, clip in enumerate(clips):
            seconds = clip.size / self.sampling_rate
            if clip.size > self._window_samples:
                raise AudioError(f"Clip {index} lasts {seconds:.2f} s; cut it into at most {self.window_s:g} s each.")
            if self.audio_token_count(clip.size) < MIN_AUDIO_TOKENS:
                raise AudioError(
                    f"Clip {index} lasts {seconds:.4f} s, under two audio tokens; give {self.shortest_s:.4f} s or more."
                )
        return clips

    def answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer with the end-of-turn token, as `prepare` joins them to the question.

        Raises:
            InputError: an answer holds a control token.
        """
        return self.dialogue.answer_ids(answers)
