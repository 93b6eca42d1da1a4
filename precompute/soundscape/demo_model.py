"""The demo AudioLLM before training: configuration, tokenizer and processor of the real Qwen2-Audio classes, small."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor
from transformers.models.qwen2_audio.configuration_qwen2_audio import Qwen2AudioConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioForConditionalGeneration
from transformers.models.qwen2_audio.processing_qwen2_audio import Qwen2AudioProcessor

from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.world import CLIP_SECONDS

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
"""Qwen2-Audio's special tokens, in the order of their ids here."""
SYSTEM = "You are a helpful assistant."
MEL_BINS = 64
VOCABULARY = 1_600


def build_tokenizer(lines: Sequence[str], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the demo world's sentences, with Qwen's special tokens."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    frame = [SYSTEM, "system\n", "user\nAudio 1: ", "assistant\n"]
    core.train_from_iterator([*lines, *(frame * 50)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL_TOKENS,
        padding_side="left",
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2AudioProcessor:
    """Whisper features of the demo's window (`chunk_length` = the clip length), chat template of Qwen2-Audio."""
    extractor = WhisperFeatureExtractor(
        feature_size=MEL_BINS, sampling_rate=SAMPLE_RATE, chunk_length=int(CLIP_SECONDS), return_attention_mask=True
    )
    return Qwen2AudioProcessor(extractor, tokenizer)


def sinusoids(length: int, channels: int) -> torch.Tensor:
    """Whisper's fixed positional table: sines and cosines of geometrically spaced periods, shape [length, channels]."""
    step = math.log(10_000) / (channels // 2 - 1)
    angles = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(channels // 2))[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


@torch.no_grad()
def initialise(model: Qwen2AudioForConditionalGeneration, layers: int, encoder_layers: int) -> None:
    """Unit-variance weights in place of the library's 0.02, which suits models twenty times as wide.

    Ours: std = 1 / sqrt(fan in); what writes into a residual stream is scaled by 1 / sqrt(2 layers). In a trial of 150
    steps of the encoder the frame loss fell to 3.8 with it and to 4.5 without.
    """
    writes = {"fc2": encoder_layers, "out_proj": encoder_layers, "down_proj": layers, "o_proj": layers}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv1d)) and name != "lm_head":
            fan_in = module.weight[0].numel()
            depth = writes.get(name.rsplit(".", 1)[-1])
            module.weight.normal_(0.0, fan_in**-0.5 * ((2 * depth) ** -0.5 if depth else 1.0))
    model.get_input_embeddings().weight.normal_(0.0, 0.3)
    tower = model.model.audio_tower
    tower.embed_positions.weight.copy_(sinusoids(*tower.embed_positions.weight.shape) * 0.1)


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    encoder_width: int = 160,
    encoder_layers: int = 4,
    width: int = 192,
    layers: int = 6,
    feed_forward: int = 512,
    heads: int = 4,
) -> Qwen2AudioForConditionalGeneration:
    """A randomly initialised Qwen2-Audio of demo size."""
    ids = {t: tokenizer.convert_tokens_to_ids(t) for t in SPECIAL_TOKENS}
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": MEL_BINS,
            "d_model": encoder_width,
            "encoder_layers": encoder_layers,
            "encoder_attention_heads": max(1, encoder_width // 40),
            "encoder_ffn_dim": encoder_width * 4,
            "max_source_positions": int(CLIP_SECONDS) * 50,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": feed_forward,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": False,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        audio_token_index=ids["<|AUDIO|>"],
        pad_token_id=ids["<|endoftext|>"],
    )
    model = Qwen2AudioForConditionalGeneration(config)
    initialise(model, layers, encoder_layers)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    model.generation_config.bos_token_id = ids["<|endoftext|>"]
    return model
