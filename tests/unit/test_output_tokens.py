"""Output tokens of a direction: by hand, and against the model's own norm and output matrix."""

from __future__ import annotations

import pytest
import torch

from ard import output_tokens as module
from ard.output_tokens import OutputTokenError, output_side, output_tokens, token_texts
from tests.fixtures.models import tiny_lm, tiny_qwen_tokenizer

UNEMBEDDING = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-3.0, 2.0], [0.0, 1.0]])
NORM = torch.tensor([1.0, 2.0])


def test_by_hand() -> None:
    # Logits of (1, 0): 3, 0, −3, 0, mean 0. Logits of (0, 1) with norm 2: 0, 2, 4, 2, mean 2: −2, 0, 2, 0.
    found = output_tokens(torch.eye(2), NORM, UNEMBEDDING, top=1)
    assert found.promoted.tolist() == [[0], [2]]
    assert found.suppressed.tolist() == [[2], [0]]
    assert found.promoted_logit.tolist() == [[3.0], [2.0]]
    assert found.suppressed_logit.tolist() == [[-3.0], [-2.0]]


def test_a_small_vocabulary_gives_fewer_and_no_direction_none() -> None:
    assert output_tokens(torch.eye(2), NORM, UNEMBEDDING, top=10).promoted.shape == (2, 4)
    assert output_tokens(torch.zeros(0, 2), NORM, UNEMBEDDING).promoted.shape[0] == 0


def test_parts_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    directions = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    whole = output_tokens(directions, NORM, UNEMBEDDING, top=2)
    monkeypatch.setattr(module, "_CHUNK_VALUES", 8)
    for a, b in zip(whole, output_tokens(directions, NORM, UNEMBEDDING, top=2), strict=True):
        torch.testing.assert_close(a, b)


def test_widths_must_agree() -> None:
    with pytest.raises(OutputTokenError, match=r"widths \[2, 3\]"):
        output_tokens(torch.eye(3), NORM, UNEMBEDDING)


@torch.no_grad()
def test_it_is_what_the_models_own_head_says_of_the_direction() -> None:
    """The final norm divides by rms(d), so its logits are ours times 1/rms(d), up to a constant."""
    lm = tiny_lm()
    head = output_side(lm)
    d = torch.randn(3, lm.d_model, generator=torch.Generator().manual_seed(1))
    own = lm.model.get_output_embeddings()(lm.model.get_decoder().norm(d))[:, : len(head.tokens)]
    own = (own - own.mean(-1, keepdim=True)) * d.pow(2).mean(-1, keepdim=True).sqrt()
    found = output_tokens(d, head.norm, head.unembedding, top=5)
    assert found.promoted.tolist() == own.topk(5).indices.tolist()
    torch.testing.assert_close(found.promoted_logit, own.topk(5).values, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.suppressed_logit, own.topk(5, largest=False).values, rtol=1e-3, atol=1e-4)


def test_half_a_character_keeps_the_tokenizers_spelling() -> None:
    tokenizer = tiny_qwen_tokenizer()
    texts = token_texts(tokenizer, len(tokenizer))
    assert len(texts) == len(tokenizer)
    assert "\ufffd" not in "".join(texts)
    assert "" not in texts
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    assert texts[plain[0]] == "a"
