"""Which output tokens a direction of the residual stream makes likelier, to first order (the "direct path").

Ours; the paper has no such measure. For a latent with decoder row d in the units of x (W_dec[k] / scale), the final
norm's weight g and the output matrix W_U [vocabulary, d_in]:

    logit = W_U (g ⊙ d) − its mean over the vocabulary

What one unit of z adds straight to the logits, up to the positive factor 1/rms(x) of the final norm, which differs
from token to token. The mean is taken off because softmax ignores it: above 0 is likelier, below 0 less likely. What
the layers after the hookpoint make of d is left out; for an early hookpoint that is most of the effect, so this shows
a tendency and `steer` measures the effect.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ard.models.audio_lm import AudioLM

_CHUNK_VALUES = 1 << 24
_UNREADABLE = "\ufffd"


class OutputTokenError(ValueError):
    """Directions and an output matrix that do not fit together; the message says how to mend it."""


class OutputTokens(NamedTuple):
    """The strongest tokens of each direction, strongest first."""

    promoted: Int[Tensor, "directions top"]
    """Token ids with the highest logits."""
    promoted_logit: Float[Tensor, "directions top"]
    suppressed: Int[Tensor, "directions top"]
    """Token ids with the lowest logits."""
    suppressed_logit: Float[Tensor, "directions top"]


@torch.no_grad()
def output_tokens(
    directions: Float[Tensor, "directions d_in"],
    norm: Float[Tensor, " d_in"],
    unembedding: Float[Tensor, "vocabulary d_in"],
    top: int = 10,
) -> OutputTokens:
    """The `top` most promoted and most suppressed tokens of each direction; fewer where the vocabulary has fewer.

    Args:
        directions: decoder rows in the units of the residual stream.
        norm: weight g of the final norm.
        unembedding: output matrix, one row a token.
        top: tokens a side.

    Raises:
        OutputTokenError: the widths differ.
    """
    widths = {directions.shape[-1], norm.shape[-1], unembedding.shape[-1]}
    if len(widths) != 1:
        raise OutputTokenError(
            f"Directions, norm and output matrix have widths {sorted(widths)}; take them from the same model."
        )
    top = min(top, len(unembedding))
    weighted = unembedding.float() * norm.float()
    weighted -= weighted.mean(0)  # the mean over the vocabulary, for every direction at once
    parts = []
    for chunk in directions.split(max(1, _CHUNK_VALUES // max(1, len(unembedding)))):
        logits = chunk.to(weighted) @ weighted.T
        high, low = logits.topk(top), logits.topk(top, largest=False)
        parts.append((high.indices.cpu(), high.values.cpu(), low.indices.cpu(), low.values.cpu()))
    if not parts or not len(directions):
        none = torch.zeros(0, top)
        return OutputTokens(none.long(), none, none.long(), none)
    return OutputTokens(*(torch.cat(column) for column in zip(*parts, strict=True)))


class OutputSide(NamedTuple):
    """What of a model its output tokens depend on directly."""

    norm: Float[Tensor, " d_in"]
    """Weight of the final norm."""
    unembedding: Float[Tensor, "vocabulary d_in"]
    """Output matrix, cut to the tokens that the tokenizer knows: further rows are padding."""
    tokens: list[str]
    """Text of each token."""


def output_side(lm: AudioLM) -> OutputSide:
    """The final norm, the output matrix and the tokens' texts of a loaded AudioLLM."""
    tokenizer = lm.processor.tokenizer
    matrix = lm.model.get_output_embeddings().weight
    known = min(len(tokenizer), len(matrix))
    return OutputSide(lm.model.get_decoder().norm.weight, matrix[:known], token_texts(tokenizer, known))


def token_texts(tokenizer: Any, count: int) -> list[str]:
    """Text of the tokens 0 to count − 1; the tokenizer's own spelling for a part of a character."""
    texts = tokenizer.batch_decode([[i] for i in range(count)])
    raw = tokenizer.convert_ids_to_tokens(list(range(count)))
    return [own if _UNREADABLE in text or not text else text for text, own in zip(texts, raw, strict=True)]
