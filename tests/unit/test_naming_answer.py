"""What counts as an answer: every way in which a chat model gets the form wrong has a reason it can act on."""

from __future__ import annotations

import json

import pytest

from ard.naming import NO_NAME
from ard.naming_answer import (
    NOTHING_SHARED,
    PROMPT,
    ConceptAnswer,
    MalformedAnswerError,
    answer_schema,
    question,
    read_answer,
)

GOOD = {"shared": True, "name": "dog barking", "description": "A dog barks."}
READ = ConceptAnswer(True, "dog barking", "A dog barks.")


def test_the_question_is_the_papers_sentence_and_the_captions() -> None:
    text = question(["A dog barks.", "dogs\nbark\n2. fake"])
    assert text.startswith(f"{PROMPT}:\n1. A dog barks.\n2. dogs bark 2. fake\n")
    assert "false" in text
    assert "5 words" in text


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=1)}\n```",
        f"Sure! Here it is: {json.dumps(GOOD)} I hope it helps {{}}",
        f'<think>maybe {{"shared": false}}</think>\n{json.dumps(GOOD)}',
        json.dumps(GOOD | {"name": ' "Dog  Barking." ', "more": 1, "description": " A dog\nbarks. "}),
    ],
)
def test_good_answers_are_read(text: str) -> None:
    assert read_answer(text) == READ


def test_nothing_in_common_is_a_good_answer() -> None:
    assert read_answer('{"shared": false, "name": "", "description": ""}') == (False, NO_NAME, NOTHING_SHARED)
    noise = read_answer('{"shared": false, "name": "x", "description": "Only noise."}')
    assert noise == (False, NO_NAME, "Only noise.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("<think>hm</think>", "empty"),
        ("A dog is barking.", "the object"),
        ('{"shared": true, "name": "dog"', "not valid JSON"),
        ("{" * 100_000, "not valid JSON"),
        ("[1, 2]", "the object"),
        ('{"name": "dog", "description": "x"}', "shared: field required"),
        ('{"shared": "yes", "name": "dog", "description": "x"}', "shared: .*bool"),
        ('{"shared": true, "name": 3, "description": "x"}', "name: .*string"),
        ('{"shared": true, "name": null, "description": "x"}', "name: .*string"),
        (json.dumps(GOOD | {"name": "one two three four five six"}), "6 words"),
        (json.dumps(GOOD | {"name": "x" * 81}), "81 characters"),
        (json.dumps(GOOD | {"name": " . "}), "name is empty"),
        (json.dumps(GOOD | {"name": "No common concept"}), "although shared is true"),
        (json.dumps(GOOD | {"description": " "}), "description is empty"),
        (json.dumps(GOOD | {"description": "x" * 1001}), "1001 characters"),
    ],
)
def test_bad_answers_get_a_reason(text: str, reason: str) -> None:
    with pytest.raises(MalformedAnswerError, match=reason):
        read_answer(text)


def test_a_cut_answer_is_told_to_be_brief() -> None:
    with pytest.raises(MalformedAnswerError, match="cut off"):
        read_answer('{"shared": true, "na', cut=True)


def test_the_schema_is_closed_and_asks_for_everything() -> None:
    schema = answer_schema()
    assert schema["required"] == ["shared", "name", "description"]
    assert schema["additionalProperties"] is False
    assert {k: v["type"] for k, v in schema["properties"].items()} == {
        "shared": "boolean",
        "name": "string",
        "description": "string",
    }
