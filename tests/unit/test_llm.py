"""The endpoint client against a real HTTP server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping

import pytest

from ard.models.llm import ChatError, Endpoint, EndpointChat, Reply
from tests.fixtures.chat_server import Act, ChatServer, always, chat_server

OK = Act(content="fine")
KEY = "sk-very-secret-0123456789"


def endpoint(server: ChatServer, **more: object) -> Endpoint:
    options = {"timeout_s": 5.0, "retries": 3, "concurrency": 1} | more
    return Endpoint(base_url=server.url, model="m", **options)


def ask(chat: EndpointChat, texts: list[str]) -> tuple[dict[int, Reply], dict[int, str]]:
    got: dict[int, Reply] = {}
    lock = threading.Lock()

    def keep(replies: Mapping[int, Reply]) -> None:
        with lock:
            assert not set(replies) & set(got)
            got.update(replies)

    failed = chat.ask([[{"role": "user", "content": text}] for text in texts], keep)
    assert set(got) | set(failed) == set(range(len(texts)))
    assert not set(got) & set(failed)
    return got, failed


def first(act: Act, times: int = 1) -> Callable[[int, dict], Act]:
    """The misbehaviour for the first requests, then a good answer."""
    return lambda number, body: act if number < times else OK


def test_a_good_reply_is_read_whole() -> None:
    with chat_server(always(OK)) as server:
        chat = EndpointChat(endpoint(server), {"type": "object"})
        got, failed = ask(chat, ["hello"])
    assert failed == {}
    assert got == {0: Reply("fine", "m", "fp_7", 40, 10, cut=False)}
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.authorization == "Bearer none"
    assert seen.body == {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | chat.settings
    assert chat.settings["temperature"] == 0.0
    assert chat.settings["max_tokens"] == 512
    assert chat.settings["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({"structured": "none"}, {"max_tokens": 512, "temperature": 0.0}),
        ({"structured": "json_object", "temperature": None, "limit_name": "max_completion_tokens"},
         {"max_completion_tokens": 512, "response_format": {"type": "json_object"}}),
    ],
)  # fmt: skip
def test_what_is_sent_can_be_chosen(more: dict, sent: dict) -> None:
    with chat_server(always(OK)) as server:
        ask(EndpointChat(endpoint(server, **more), {"type": "object"}), ["x"])
    assert {k: v for k, v in server.seen[0].body.items() if k not in ("model", "messages")} == sent


@pytest.mark.parametrize(
    "act",
    [
        Act(status=500, body="boom"),
        Act(status=503, body="{}", headers={"Retry-After": "0.01"}),
        Act(cut="before"),
        Act(cut="within"),
        Act(body='{"choices": [{"message"'),
        Act(body="<html>proxy error</html>"),
        Act(body="[]"),
        Act(body='{"choices": []}'),
        Act(body='{"choices": [{"message": {"role": "assistant", "content": 7}}]}'),
    ],
    ids=["500", "503", "reset", "cut", "torn-json", "html", "list", "no-choice", "number"],
)
def test_a_failed_request_is_tried_again_until_it_works(act: Act) -> None:
    with chat_server(first(act)) as server:
        got, failed = ask(EndpointChat(endpoint(server)), ["x"])
    assert failed == {}
    assert got[0].text == "fine"
    assert len(server.seen) == 2


def test_a_slow_answer_is_given_up_and_asked_for_again() -> None:
    with chat_server(first(Act(content="too late", delay_s=1.0))) as server:
        got, _ = ask(EndpointChat(endpoint(server, timeout_s=0.2)), ["x"])
    assert got[0].text == "fine"


def test_retry_after_is_waited_for() -> None:
    with chat_server(first(Act(status=429, body="{}", headers={"Retry-After": "1.1"}))) as server:
        got, _ = ask(EndpointChat(endpoint(server)), ["x"])
    assert got[0].text == "fine"
    assert server.seen[1].at - server.seen[0].at >= 1.1  # without the header the second try comes after half a second


def test_empty_content_and_a_cut_answer_are_replies() -> None:
    acts = [Act(content=""), Act(content=None), Act(content="{", finish="length")]
    with chat_server(lambda number, body: acts[number]) as server:
        got, failed = ask(EndpointChat(endpoint(server)), ["a", "b", "c"])
    assert failed == {}
    assert [(got[i].text, got[i].cut) for i in range(3)] == [("", False), ("", False), ("{", True)]


def test_one_that_always_fails_does_not_stop_the_others() -> None:
    def script(number: int, body: dict) -> Act:
        return Act(status=500, body="no") if body["messages"][0]["content"] == "bad" else OK

    with chat_server(script) as server:
        got, failed = ask(EndpointChat(endpoint(server, retries=1, concurrency=2)), ["a", "bad", "b", "c"])
    assert set(got) == {0, 2, 3}
    assert "status 500" in failed[1]
    assert len(server.seen) == 5


def test_a_dead_endpoint_stops_the_asking_and_keeps_what_came() -> None:
    with chat_server(lambda number, body: OK if number < 3 else Act(status=500, body="no")) as server:
        chat, got = EndpointChat(endpoint(server, retries=0, concurrency=2)), {}
        with pytest.raises(ChatError, match=r"failed 4 times in a row.*status 500.*every answer so far is kept"):
            chat.ask([[{"role": "user", "content": str(i)}] for i in range(50)], got.update)
    assert len(got) == 3
    assert len(server.seen) < 12


def test_nobody_there_is_one_sentence() -> None:
    with chat_server(always(OK)) as server:
        url = server.url
    chat = EndpointChat(Endpoint(base_url=url, model="m", retries=0, concurrency=1))
    with pytest.raises(ChatError, match="failed 2 times in a row") as caught:
        chat.ask([[{"role": "user", "content": "x"}]] * 5, lambda replies: None)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "ARD_TEST_KEY"), (403, "ARD_TEST_KEY"), (404, "names.namer.model")]
)
def test_a_refused_key_or_model_stops_at_once(status: int, words: str) -> None:
    with chat_server(always(Act(status=status, body='{"error": {"message": "no"}}'))) as server:
        chat = EndpointChat(endpoint(server, key_env="ARD_TEST_KEY"))
        with pytest.raises(ChatError, match=words):
            chat.ask([[{"role": "user", "content": str(i)}] for i in range(20)], lambda replies: None)
    assert len(server.seen) == 1


def test_a_refused_form_names_the_setting() -> None:
    with chat_server(always(Act(status=400, body='{"error": {"message": "response_format"}}'))) as server:
        chat = EndpointChat(endpoint(server))
        with pytest.raises(ChatError, match=r"names\.namer\.structured"):
            chat.ask([[{"role": "user", "content": str(i)}] for i in range(9)], lambda replies: None)


def test_the_key_is_sent_and_comes_back_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARD_TEST_KEY", KEY)
    acts = [Act(content=f"your key is {KEY}"), Act(status=400, body=json.dumps({"error": {"message": f"key {KEY}"}}))]
    with chat_server(lambda number, body: acts[min(number, 1)]) as server:
        chat = EndpointChat(endpoint(server, key_env="ARD_TEST_KEY"))
        got, failed = ask(chat, ["a", "b"])
    assert [s.authorization for s in server.seen] == [f"Bearer {KEY}"] * 2
    assert got[0].text == "your key is ***"
    assert "key ***" in failed[1]
    assert KEY not in repr((got, failed, chat.settings, chat.endpoint))


def test_requests_are_under_way_together() -> None:
    four, under_way, most, lock = threading.Barrier(4, timeout=20), 0, 0, threading.Lock()

    def script(number: int, body: dict) -> Act:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        four.wait()  # breaks, and the request fails, unless four are there
        with lock:
            under_way -= 1
        return OK

    with chat_server(script) as server:
        got, failed = ask(EndpointChat(endpoint(server, concurrency=4, timeout_s=30.0, retries=0)), list("abcdefgh"))
    assert (len(got), failed) == (8, {})
    assert 4 <= most <= 4 + 3  # the next one may come before the last has left


def test_requests_are_spaced_by_the_limit_tries_after_a_failure_too() -> None:
    with chat_server(first(Act(status=500, body=""), 2)) as server:
        chat = EndpointChat(endpoint(server, concurrency=4, requests_per_minute=600))
        start = time.monotonic()
        ask(chat, list("abcd"))
        taken = time.monotonic() - start
    assert chat.requests == len(server.seen) == 6
    assert taken >= 0.5  # six requests at ten a second, the first at once
