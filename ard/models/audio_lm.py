"""The AudioLLM: Qwen2-Audio and its relatives (SeaLLMs-Audio) behind one interface.

Everything about windows, mels, tokens and layers is read from the checkpoint; nothing here is set for one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, GenerationConfig, Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor
from transformers.generation import StoppingCriteriaList

from ard.hooks import read
from ard.models.checkpoint import (
    MIN_AUDIO_TOKENS,
    StopWhen,
    encoder_tokens,
    end_of_turn,
    read_front_end,
    special_tokens,
    stop_settings,
)
from ard.models.common import (
    AudioError,
    ModelError,
    check_audios,
    compute_dtype,
    find_model,
    load_part,
    load_weights,
    revision_of,
)
from ard.models.inputs import Features, InputError, Inputs, build_inputs, expect_matching, refuse_special_tokens

MODEL_TYPE = "qwen2_audio"


class AudioLM:
    """A loaded AudioLLM with its processor.

    Attributes:
        model, processor: the transformers objects.
        name: folder name or hub id.
        n_layers, d_model: decoder layers and the width of the residual stream.
        sampling_rate: Hz the clips must have.
        window_s: longest clip in seconds; longer ones are refused, never cut.
        shortest_s: shortest clip in seconds; shorter ones give fewer than two audio tokens and are refused.
        tokens_per_second: audio tokens per second of sound.
    """

    def __init__(
        self,
        model: Qwen2AudioForConditionalGeneration,
        processor: Qwen2AudioProcessor,
        source: Path | str = "in-memory",
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.name = source.name if isinstance(source, Path) else source
        self._source = source
        decoder = model.config.text_config
        self.n_layers, self.d_model = int(decoder.num_hidden_layers), int(decoder.hidden_size)
        front = read_front_end(model, processor)
        self.sampling_rate, self.window_s, self.tokens_per_second = (
            front.sampling_rate,
            front.window_s,
            front.tokens_per_s,
        )
        self.shortest_s = front.shortest_samples / self.sampling_rate
        # On the tokenizer only: through from_pretrained it would flip the audio's padding too.
        processor.tokenizer.padding_side = "left"
        self._special = sorted({processor.audio_token, *special_tokens(processor.tokenizer).values()})
        self._render = lru_cache(maxsize=1024)(self._render_uncached)
        self._end_id = end_of_turn(processor)
        stops = stop_settings(model, processor, self._end_id)
        self._stop_ids, self._pad_id, self._sampling = stops
        model.generation_config = GenerationConfig(eos_token_id=sorted(stops.stop_ids), pad_token_id=stops.pad_id)

    @classmethod
    def load(cls, path_or_id: str | Path, device: str = "cpu", dtype: torch.dtype | None = None) -> AudioLM:
        """Load from a folder or a hub id with sdpa attention.

        Args:
            path_or_id: folder written by `save_pretrained`, or hub id.
            device: where to compute, such as "cpu" or "cuda".
            dtype: left out, float32 on CPU (float16 checkpoints too) and bfloat16 on accelerators.

        Raises:
            ModelError: not found, another family, a precision the device lacks, or model and processor disagree.
        """
        source, dtype = find_model(path_or_id), compute_dtype(device, dtype)
        if isinstance(source, Path):
            source = source.resolve()
        config = load_part("model configuration", AutoConfig.from_pretrained, source)
        if config.model_type != MODEL_TYPE:
            raise ModelError(f"{path_or_id} is a {config.model_type!r} model; give a {MODEL_TYPE!r} checkpoint.")
        processor = load_part("processor", Qwen2AudioProcessor.from_pretrained, source)
        load = Qwen2AudioForConditionalGeneration.from_pretrained
        model = load_weights(load, source, dtype=dtype, attn_implementation="sdpa")
        return cls(model.to(device), processor, source)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    @cached_property
    def revision(self) -> str:
        """sha256 over the weight files (12 hex digits) for a folder, commit hash for a hub id."""
        return revision_of(self._source, self.model.config)

    # ---- hookpoints ---------------------------------------------------------------------------------------------

    def hookpoint(self, layer: int) -> str:
        """`layers.<l>` of an existing layer.

        Raises:
            ValueError: no such layer.
        """
        self._check_layer(layer)
        return f"layers.{layer}"

    def layer_of(self, hookpoint: str) -> int:
        """The layer number in `layers.<l>`.

        Raises:
            ValueError: another form, or no such layer.
        """
        kind, _, number = hookpoint.partition(".")
        if kind != "layers" or not number.isdecimal():
            raise ValueError(f"Hookpoint {hookpoint!r} is not 'layers.<l>' with l from 0 to {self.n_layers - 1}.")
        self._check_layer(int(number))
        return int(number)

    def layer(self, layer: int) -> nn.Module:
        """Decoder layer `layer`, counted from 0.

        Raises:
            ValueError: no such layer.
        """
        self._check_layer(layer)
        return self.model.get_decoder().layers[layer]

    def _check_layer(self, layer: int) -> None:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < self.n_layers:
            raise ValueError(f"Layer {layer!r} does not exist in {self.name}; it has layers 0 to {self.n_layers - 1}.")

    # ---- preparing ----------------------------------------------------------------------------------------------

    def audio_token_count(self, samples: int) -> int:
        """Audio tokens of a clip of `samples` samples: ((F−1)//2+1−2)//2+1 for F = ⌈samples/hop⌉ mel frames."""
        frames = math.ceil(samples / self.processor.feature_extractor.hop_length)
        return max(int(self._encoder_tokens(torch.tensor([frames]))[0]), 0)

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt with its turn marks, the audio counted as one; more than `Inputs.prompt` by the prefix."""
        return len(self.processor.tokenizer(self._render(prompt))["input_ids"])

    def hear(self, audios: Sequence[np.ndarray], *, sampling_rate: int | None = None) -> Features:
        """The clips as the encoder takes them, for `prepare`; safe in another thread, in page-locked memory for a GPU.

        Raises:
            AudioError: a clip is not usable, too long or too short for two audio tokens, or at another rate.
        """
        clips = self._check_clips(audios, sampling_rate)
        out = self.processor.feature_extractor(
            clips,
            sampling_rate=self.sampling_rate,
            return_attention_mask=True,
            padding="max_length",
            return_tensors="pt",
        )
        features = Features(out["input_features"], out["attention_mask"])
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
        refuse_special_tokens("Prompt", prompts, self._special)
        refuse_special_tokens("Answer", answers or [], self._special)
        features = audios if isinstance(audios, Features) else self.hear(audios, sampling_rate=sampling_rate)
        counts = self._encoder_tokens(features.feature_attention_mask.sum(-1)).tolist()
        mark = self.processor.audio_token
        texts = [self._render(p).replace(mark, mark * n, 1) for p, n in zip(prompts, counts, strict=True)]
        inputs = build_inputs(
            self.processor.tokenizer(texts)["input_ids"],
            [self._answer_ids(answer, end_answer) for answer in answers] if answers else [[]] * len(features),
            features.tensors,
            expected_audio=counts,
            audio_token_id=self.processor.audio_token_id,
            pad_token_id=self._pad_id,
        )
        return inputs.to(self.device)

    def _check_clips(self, audios: Sequence[np.ndarray], sampling_rate: int | None) -> list[np.ndarray]:
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise AudioError(f"The clips are at {sampling_rate} Hz; resample them to {self.sampling_rate} Hz first.")
        clips = check_audios(audios)
        for index, clip in enumerate(clips):
            seconds = clip.size / self.sampling_rate
            if clip.size > self.processor.feature_extractor.n_samples:
                raise AudioError(f"Clip {index} lasts {seconds:.2f} s; cut it into at most {self.window_s:g} s each.")
            if self.audio_token_count(clip.size) < MIN_AUDIO_TOKENS:
                raise AudioError(
                    f"Clip {index} lasts {seconds:.4f} s, under two audio tokens; give {self.shortest_s:.4f} s or more."
                )
        return clips

    def _render_uncached(self, prompt: str) -> str:
        content = [{"type": "audio", "audio_url": ""}, {"type": "text", "text": prompt}]
        turn = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)

    def answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer with the end-of-turn token, as `prepare` joins them to the question.

        Raises:
            InputError: an answer holds a control token.
        """
        refuse_special_tokens("Answer", answers, self._special)
        return [self._answer_ids(answer, True) for answer in answers]

    def _answer_ids(self, answer: str, end_answer: bool) -> list[int]:
        ids = self.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not ids and not end_answer:
            raise InputError("An answer is empty; give a text, or end it with the end-of-turn token.")
        return [*ids, self._end_id] if end_answer else list(ids)

    # ---- computing ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def activations(
        self, inputs: Inputs, layers: Sequence[int], *, as_computed: bool = False
    ) -> dict[int, Float[Tensor, "B L d"]]:
        """Activations x of Eq. 1 at the asked layers, float32; one forward pass that ends after the highest of them.

        `as_computed` leaves them in the model's own precision.

        Equals `hidden_states[l + 1]`, for the last layer before the final norm. Padding positions hold no meaning.

        Raises:
            ValueError: no layer asked for, or one the model lacks.
        """
        with read(self, layers, stop=True) as got:
            self._forward(inputs)
        return {layer: got[layer] if as_computed else got[layer].float() for layer in layers}

    @torch.no_grad()
    def generate(
        self,
        inputs: Inputs,
        max_new_tokens: int = 48,
        seed: int | None = None,
        do_sample: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[str]:
        """The model's answers: new text only, up to the end of its turn.

        Greedy unless `do_sample`; then with the checkpoint's own temperature, top-p and top-k under `seed`. The
        checkpoint's repetition penalty is not applied: it would favour or punish words of the question.

        Args:
            inputs: prepared without answers.
            max_new_tokens: longest answer, in tokens.
            seed: of the sampling; leaves torch's own random state alone.
            do_sample: draw instead of taking the likeliest token.
            should_stop: asked after every token; True ends the answers there.

        Raises:
            InputError: the inputs already hold an answer, or max_new_tokens is below 1.
        """
        if bool(inputs.answer.any()):
            raise InputError("These inputs already hold answers; prepare them without `answers` to generate.")
        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}; give at least 1.")
        settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": do_sample, "use_cache": True}
        # Room for all tokens from the start: appending would copy every layer's cache at every token.
        settings |= {"cache_implementation": "static", "disable_compile": True}
        settings |= self._sampling if do_sample else {}
        stop = StoppingCriteriaList([StopWhen(should_stop)] if should_stop else [])
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            out = self.model.generate(**inputs.tensors, **settings, stopping_criteria=stop)
        return [self._text(row) for row in out[:, inputs.length :].tolist()]

    @torch.no_grad()
    def answer_log_probs(self, inputs: Inputs) -> Float[Tensor, " B"]:
        """Σ log p(token | what comes before) over each clip's answer tokens, float32.

        Raises:
            InputError: a clip has no answer.
        """
        if not bool(inputs.answer.any(-1).all()):
            raise InputError("These inputs hold no answers; prepare them with `answers`.")
        target = inputs.answer[:, 1:]
        states = self._forward(inputs).last_hidden_state[:, :-1][target]
        ids = inputs.tensors["input_ids"][:, 1:][target]
        log_probs = self.model.get_output_embeddings()(states).float().log_softmax(-1)
        picked = log_probs.gather(-1, ids[:, None])[:, 0]
        rows = target.nonzero()[:, 0]
        return torch.zeros(inputs.batch, device=picked.device).index_add_(0, rows, picked)

    def next_token_loss(self, inputs: Inputs) -> Float[Tensor, " B"]:
        """Mean negative log-likelihood in nats over each clip's answer tokens.

        Raises:
            InputError: a clip has no answer.
        """
        return -self.answer_log_probs(inputs) / inputs.answer.sum(-1)

    def _forward(self, inputs: Inputs) -> Any:
        """The model without its LM head, with positions that do not count padding."""
        positions = (inputs.tensors["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        out = self.model.base_model(**inputs.tensors, position_ids=positions, use_cache=False)
        if out.last_hidden_state.shape[1] != inputs.length:
            raise InputError("The model grew the sequence merging the audio; use a processor that expands <|AUDIO|>.")
        return out

    def _text(self, ids: list[int]) -> str:
        end = next((i for i, token in enumerate(ids) if token in self._stop_ids), len(ids))
        return self.processor.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()

    def _encoder_tokens(self, frames: Tensor) -> Tensor:
        return encoder_tokens(self.model, frames)
