"""Names by a chat model: asked over real HTTP, kept, asked again with the reason, and never silently replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ard.answer_cache import AnswerCache
from ard.models.llm import ChatError, Endpoint, EndpointChat
from ard.naming import NAMER, NO_NAME, ContrastiveNamer
from ard.naming_answer import PROMPT, answer_schema
from ard.naming_llm import LLMNamer
from tests.fixtures.chat_server import Act, ChatServer, always, chat_server

CAPTIONS = [
    *("a dog barks", "the dog barks twice", "a dog barks loudly", "one dog barks"),
    *("a cat meows", "cat meows", "the cat meows", "a cat meows softly"),
    *("rain falls", "a bell rings", "wind blows", "a car passes"),
]
DOGS, CATS, MIXED = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]


def namer(server: ChatServer, path: Path, **more: object) -> LLMNamer:
    endpoint = Endpoint(base_url=server.url, model="judge", retries=1, concurrency=2, timeout_s=10.0)
    return LLMNamer(EndpointChat(endpoint, answer_schema()), ContrastiveNamer(CAPTIONS), AnswerCache(path), **more)


def says(name: str, shared: bool = True) -> Act:
    return Act(content=json.dumps({"shared": shared, "name": name, "description": f"It is {name}." if shared else ""}))


def by_animal(number: int, body: dict) -> Act:
    text = body["messages"][0]["content"]
    return says("canine vocalisation" if "dog" in text else "feline" if "cat" in text else "", "rain" not in text)


def test_names_come_from_the_model_with_the_whole_exchange(tmp_path: Path) -> None:
    with chat_server(by_animal) as server:
        one = namer(server, tmp_path / "c")
        dog, cat, none = one.name_many([DOGS, CATS, MIXED])
    assert (dog.name, dog.description, dog.namer) == ("canine vocalisation", "It is canine vocalisation.", "judge@fp_7")
    assert dog.captions == tuple(CAPTIONS[:4])
    assert dog.support is None
    assert cat.name == "feline"
    assert (none.name, none.asked.status) == (NO_NAME, "no_common")
    asked = dog.asked
    assert (asked.model, asked.revision, asked.status, asked.reason) == ("judge", "fp_7", "named", None)
    assert asked.prompt.startswith(f"{PROMPT}:\n1. a dog barks\n2. the dog barks twice\n")
    assert [json.loads(a)["name"] for a in asked.answers] == ["canine vocalisation"]
    assert (asked.prompt_tokens, asked.completion_tokens) == (40, 10)
    assert one.totals == (3, 3, 0, 120, 30)
    assert {s.body["response_format"]["type"] for s in server.seen} == {"json_schema"}


def test_equal_captions_are_asked_about_once_and_one_caption_not_at_all(tmp_path: Path) -> None:
    with chat_server(by_animal) as server:
        first, second, single = namer(server, tmp_path / "c").name_many([DOGS, DOGS, [0]])
    assert len(server.seen) == 1
    assert first == second
    assert (single.name, single.asked, single.namer) == (NO_NAME, None, NAMER)


def test_a_malformed_answer_is_asked_again_with_the_reason(tmp_path: Path) -> None:
    acts = [Act(content="It is a dog."), says("a b c d e f"), says("dog")]
    with chat_server(lambda number, body: acts[number]) as server:
        (name,) = namer(server, tmp_path / "c").name_many([DOGS])
    assert (name.name, name.asked.status) == ("dog", "named")
    assert len(name.asked.answers) == 3
    assert name.asked.prompt_tokens == 120
    last = server.seen[2].body["messages"]
    assert [m["role"] for m in last] == ["user", "assistant", "user", "assistant", "user"]
    assert last[1]["content"] == "It is a dog."
    assert "6 words" in last[4]["content"]


def test_what_never_answers_well_is_named_by_the_rule_and_says_so(tmp_path: Path) -> None:
    with chat_server(always(Act(content=""))) as server:
        dog, none = namer(server, tmp_path / "c", attempts=2).name_many([DOGS, MIXED])
        assert len(server.seen) == 4
        again = namer(server, tmp_path / "c", attempts=2).name_many([DOGS, MIXED])
    assert len(server.seen) == 4  # it was answered, if badly
    assert (dog.name, dog.support) == ("dog barks", 4)
    assert dog.namer == f"{NAMER} (in place of judge@fp_7: malformed, the answer is empty)"
    assert none.name == NO_NAME
    assert none.asked.status == "malformed"
    assert (dog.asked.answers, dog.asked.reason) == (("", ""), "the answer is empty")
    assert again == [dog, none]


def test_what_was_answered_is_not_asked_again_after_a_failure(tmp_path: Path) -> None:
    def broken(number: int, body: dict) -> Act:
        return Act(status=500, body="no") if "cat" in body["messages"][0]["content"] else by_animal(number, body)

    with chat_server(broken) as server:
        dog, cat = namer(server, tmp_path / "c").name_many([DOGS, CATS])
    assert dog.name == "canine vocalisation"
    assert (cat.name, cat.asked.status, cat.asked.answers) == ("cat meows", "unanswered", ())
    assert "in place of judge: unanswered, status 500" in cat.namer
    with chat_server(by_animal) as server:
        two = namer(server, tmp_path / "c")
        assert [n.name for n in two.name_many([DOGS, CATS])] == ["canine vocalisation", "feline"]
    assert len(server.seen) == 1
    assert two.totals == (2, 1, 1, 40, 10)


def test_another_model_prompt_or_setting_is_another_question(tmp_path: Path) -> None:
    with chat_server(by_animal) as server:
        namer(server, tmp_path / "c").name_many([DOGS])
        namer(server, tmp_path / "c", prompt="What is it").name_many([DOGS])
        other = Endpoint(base_url=server.url, model="judge-2")
        for endpoint in (other, Endpoint(base_url=server.url, model="judge", max_tokens=9)):
            chat = EndpointChat(endpoint, answer_schema())
            LLMNamer(chat, ContrastiveNamer(CAPTIONS), AnswerCache(tmp_path / "c")).name_many([DOGS])
    assert len(server.seen) == 4


def test_a_refused_key_stops_and_keeps_what_came(tmp_path: Path) -> None:
    acts = [by_animal(0, {"messages": [{"content": "dog"}]}), Act(status=401, body="{}")]
    with chat_server(lambda number, body: acts[min(number, 1)]) as server:
        endpoint = Endpoint(base_url=server.url, model="judge", concurrency=1)
        cache = AnswerCache(tmp_path / "c")
        one = LLMNamer(EndpointChat(endpoint), ContrastiveNamer(CAPTIONS), cache)
        with pytest.raises(ChatError, match="ARD_LLM_API_KEY"):
            one.name_many([DOGS, CATS, MIXED])
    assert len(AnswerCache(cache.path)) == 1
