"""Settings of captioner and namer: what is refused, what makes the names stale, and the presets that use them."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from ard.naming_answer import answer_schema
from precompute import config
from precompute.config import ConfigError
from precompute.config_names import ChatConfig, JudgeConfig, NamerConfig
from precompute.naming import chat_model
from precompute.stages import STAGES

ENDPOINT = ["names.namer.kind=endpoint", "names.namer.model=m"]


@pytest.mark.parametrize("section", [ChatConfig, NamerConfig, JudgeConfig])
def test_every_setting_is_explained(section: type) -> None:
    own = section.__annotations__
    assert inspect.getsource(section).count('"""') == 2 * (len(own) + 1)
    assert {f.name for f in dataclasses.fields(section)} >= set(own)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["names.namer.kind=endpoint"], ["names.namer.model", "the name that the endpoint knows it by"]),
        (["names.namer.kind=local"], ["names.namer.model", "a folder or a hub id"]),
        (["names.namer.modle=x"], ["names.namer.modle", "did you mean model?"]),
        (["names.namr.kind=local"], ["names.namr", "did you mean namer?"]),
        (["names.namer.kind=llm"], ["names.namer.kind = 'llm'", "'contrastive', 'endpoint' or 'local'"]),
        ([*ENDPOINT, "names.namer.base_url=localhost:8000"], ["names.namer.base_url", "http://HOST/v1"]),
        ([*ENDPOINT, "names.namer.base_url=http://me:secret@host/v1"], ["names.namer.base_url", "leave out user"]),
        ([*ENDPOINT, "names.namer.base_url=http://host/v1?api_key=x"], ["names.namer.base_url", "query"]),
        ([*ENDPOINT, "names.namer.key_env=sk-123"], ["names.namer.key_env", "environment variable"]),
        ([*ENDPOINT, "names.namer.temperature=hot"], ["names.namer.temperature"]),
    ],
)
def test_mistakes_get_one_sentence(items: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load("demo", sets=items)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert not any(secret in text for secret in ("\n", "me:secret", "api_key=x", "sk-123"))


def test_only_what_changes_names_makes_them_stale() -> None:
    def uses(stage: str, *items: str) -> object:
        return STAGES[stage].uses(config.load("demo", sets=[*items]))

    for stage in ("names", "evaluate"):
        assert uses(stage) == uses(stage, "names.namer.retries=1", "names.namer.max_tokens=9")
        assert uses(stage) != uses(stage, *ENDPOINT)
        same = ["names.namer.base_url=http://other/v1", "names.namer.key_env=OTHER", "names.namer.concurrency=1"]
        assert uses(stage, *ENDPOINT) == uses(stage, *ENDPOINT, *same)
        for item in ("names.namer.prompt=What", "names.namer.model=n", "names.namer.max_tokens=9"):
            assert uses(stage, *ENDPOINT) != uses(stage, *ENDPOINT, item)
    assert uses("captions") == uses("captions", *ENDPOINT) == uses("captions", "names.top=3")
    assert uses("captions") != uses("captions", "names.captioner=some/model")
    corpus = "names.captions=corpus"
    assert uses("captions", corpus) == uses("captions", corpus, "names.caption_prompt=x")


def test_roles_have_the_models_that_are_configured() -> None:
    plain = config.load("demo")
    assert (plain.model_of("captioner"), plain.model_of("namer")) == (plain.model.audio_lm, "")
    other = config.load("demo", sets=["names.captioner=a/b", "names.namer.kind=local", "names.namer.model=c/d"])
    assert (other.model_of("captioner"), other.model_of("namer")) == ("a/b", "c/d")
    assert config.load("demo", sets=ENDPOINT).model_of("namer") == ""


def test_settings_reach_the_client() -> None:
    sets = ["temperature=unset", "limit_name=max_completion_tokens", "max_tokens=7", "retries=2", "concurrency=3"]
    loaded = config.load("demo", sets=[*ENDPOINT, *(f"names.namer.{item}" for item in sets)])
    chat = chat_model(loaded.names.namer, "cpu", "names.namer", answer_schema())
    assert chat.settings["max_completion_tokens"] == 7
    assert "temperature" not in chat.settings
    schema = chat.settings["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["shared", "name", "description"]


def test_paper_and_small_name_the_papers_captioner() -> None:
    paper, small = config.load("paper"), config.load("small")
    assert paper.names.captioner == small.names.captioner == "SeaLLMs/SeaLLMs-Audio-7B"
    assert paper.names.namer.kind == "endpoint"
    assert "Llama-3-70B-Instruct" in paper.names.namer.model
    assert paper.names.namer.prompt == "Describe the common sound-related concept present among these captions"
    assert [(s.layer, s.expansion) for s in small.sae] == [(26, 4)]
