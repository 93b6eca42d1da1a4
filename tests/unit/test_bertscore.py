from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ard.bertscore import BertScore, BertScoreError, embedded_model

PAIRS = [("dog barking", "a dog barks"), ("rain falls", "a siren wails"), ("church bell", "church bell")]


@pytest.fixture(scope="module")
def score() -> BertScore:
    return BertScore()


def by_the_definition(layer: int, text: str, reference: str) -> float:
    """Greedy matching of the tokens' states, the first and the last special token left out of the means."""
    source = str(embedded_model())
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    states = []
    for words in (text, reference):
        with torch.no_grad():
            out = model(**tokenizer(words, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][0]
        states.append(torch.nn.functional.normalize(out, dim=-1))
    cosines = states[0] @ states[1].T
    precision, recall = cosines.amax(1)[1:-1].mean(), cosines.amax(0)[1:-1].mean()
    return float(2 * precision * recall / (precision + recall))


def test_it_is_the_greedy_matching_of_the_paper(score: BertScore) -> None:
    found = score.f1(*zip(*PAIRS, strict=True))
    assert found == pytest.approx([by_the_definition(6, *pair) for pair in PAIRS], abs=1e-4)
    assert found[2] == pytest.approx(1.0, abs=1e-5)
    assert found[1] < found[0] < found[2]


def test_the_layer_is_the_one_asked_for(score: BertScore) -> None:
    third = BertScore(layer=3)
    assert third.name.endswith("layer 3")
    assert score.name.endswith("layer 6")
    assert third.f1(*zip(*PAIRS[:1], strict=True))[0] == pytest.approx(by_the_definition(3, *PAIRS[0]), abs=1e-4)


def test_no_pairs_no_scores(score: BertScore) -> None:
    assert np.array_equal(score.f1([], []), np.zeros(0))


def test_bad_input_is_named(score: BertScore, tmp_path: Path) -> None:
    with pytest.raises(BertScoreError, match="2 texts for 1 references"):
        score.f1(["a", "b"], ["a"])
    with pytest.raises(BertScoreError, match="blank"):
        score.f1([" "], ["a"])
    with pytest.raises(BertScoreError, match="bertscore_layer is 7; give 1 to 6"):
        BertScore(layer=7)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BertScoreError, match="no language model"):
        BertScore(str(tmp_path))
