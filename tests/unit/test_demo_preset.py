"""The demo preset asks what the demo model was taught."""

from __future__ import annotations

from precompute.config import load
from precompute.soundscape.grammar import DESCRIBE, EXTRACTION_PROMPTS


def test_the_demo_asks_the_questions_its_model_knows():
    config = load(preset="demo")
    assert config.activations.questions == EXTRACTION_PROMPTS
    assert len(EXTRACTION_PROMPTS) >= 8
    assert config.names.caption_prompt in DESCRIBE
