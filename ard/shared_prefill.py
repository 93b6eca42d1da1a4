"""The part of the prefill that all rows about one clip share, computed once (ours).

A clamp at layer l leaves layers 0 to l as they are: many clamps tried on one clip differ only behind it. Their keys,
values and the output x of layer l are computed once a clip and handed to every row of the batch. At layer 26 of 32
that is five sixths of the prefill. And of the last layer only the last position is ever read: its MLP runs there alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from ard.hooks import read
from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs


class Prefix(NamedTuple):
    """What layers 0 to l make of U embedded questions."""

    x: Float[Tensor, "U L d"]
    """Output of layer l."""
    keys: list[Float[Tensor, "U heads L d_head"]]
    """Of each of these layers, with their positions."""
    values: list[Float[Tensor, "U heads L d_head"]]


@torch.no_grad()
def prefix(lm: AudioLM, layer: int, inputs: Inputs) -> Prefix:
    """Run layers 0 to `layer` over an embedded batch (`ard.embedded`) without answers."""
    decoder, mask = lm.model.get_decoder(), inputs.tensors["attention_mask"]
    cache = DynamicCache(config=decoder.config)
    with read(lm, [layer], stop=True) as got:
        decoder(
            inputs_embeds=inputs.tensors["inputs_embeds"],
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        )
    kept = cache.layers[: layer + 1]
    return Prefix(got[layer], [one.keys for one in kept], [one.values for one in kept])


@contextmanager
def prefilled(lm: AudioLM, layer: int, known: Prefix, rows: Sequence[int]) -> Iterator[None]:
    """While the block runs, the first pass over the batch takes layers 0 to `layer` from `known`.

    Row i of the batch is row `rows[i]` of `known`. Hooks on these layers run as ever. One `generate` a block.
    """
    index = torch.tensor(list(rows), dtype=torch.long, device=known.x.device)
    layers = [lm.layer(i) for i in range(layer + 1)]

    def taken(number: int, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        first = True

        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            nonlocal first
            if not first:
                return compute(hidden_states, *args, **kwargs)
            first = False
            kwargs["past_key_values"].update(known.keys[number][index], known.values[number][index], number)
            return known.x[index] if number == layer else hidden_states

        return forward

    try:
        for number, module in enumerate(layers):
            module.forward = taken(number, module.forward)
        yield
    finally:
        for module in layers:
            vars(module).pop("forward", None)


@contextmanager
def last_mlp_once(lm: AudioLM) -> Iterator[None]:
    """While the block runs, the last layer's MLP acts on the last position of a call alone; elsewhere it adds nothing.

    The answers of `generate` are the same: what the last layer makes of earlier positions is never read. Hooks on the
    last layer would see the difference, so use it for hookpoints below.
    """
    module = lm.layer(lm.n_layers - 1).get_submodule("mlp")
    compute = module.forward

    def forward(x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            return compute(x)
        out = torch.zeros_like(x)
        out[:, -1:] = compute(x[:, -1:])
        return out

    try:
        module.forward = forward
        yield
    finally:
        vars(module).pop("forward", None)
