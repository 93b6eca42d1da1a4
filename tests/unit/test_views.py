from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.views import (
    DECODING,
    MAX_CLAMPS,
    MAX_QUERY,
    METHODS,
    POSITIONS,
    SIDES,
    SORTS,
    WHEN,
    Clamped,
    ListenState,
    MapState,
    SteerState,
    ViewError,
    ViewState,
)


def params(query: str) -> dict[str, str]:
    return dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))


def test_the_default_view_needs_no_address() -> None:
    assert ViewState().to_query() == "?"
    assert ViewState.from_query({}) == ViewState()


def test_an_address_known_by_hand() -> None:
    state = ViewState(query="dog & cat", page=3, latent_id=0)
    assert state.to_query() == "?q=dog+%26+cat&p=3&latent=0"
    assert ViewState.from_query({"q": "dog & cat", "p": "3", "latent": "0"}) == state


states = st.builds(
    ViewState,
    sae_id=st.text(max_size=40),
    method=st.sampled_from(METHODS),
    query=st.text(max_size=MAX_QUERY),
    sort=st.sampled_from(SORTS),
    page=st.integers(1, 10**6),
    latent_id=st.none() | st.integers(0, 2**31 - 1),
    side=st.sampled_from(SIDES),
    reverse=st.booleans(),
)


@given(states.filter(lambda s: "\ud800" not in s.query))
def test_every_state_comes_back_from_its_address(state: ViewState) -> None:
    assert ViewState.from_query(params(state.to_query())) == state


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("p", "0"), ("p", "-1"), ("p", "1.5"), ("p", ""), ("p", "٣"), ("p", "9" * 40),
        ("latent", "x"), ("latent", "-1"), ("method", "best"), ("sort", "rank; drop table"), ("side", "both"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(key: str, value: str) -> None:
    with pytest.raises(ViewError, match=f"{key}="):
        ViewState.from_query({key: value})


def test_unknown_keys_are_left_to_others() -> None:
    assert ViewState.from_query({"__theme": "dark"}) == ViewState()


def test_a_new_search_starts_at_page_one_but_keeps_the_concept() -> None:
    state = ViewState(page=4, latent_id=7)
    assert state.with_(query=" dog ") == ViewState(query="dog", page=1, latent_id=7)
    assert state.with_(latent_id=9).page == 4
    assert state.with_(sort="name", page=2).page == 2


def test_a_state_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ViewState().page = 2  # type: ignore[misc]


def test_what_is_steered_is_part_of_the_address() -> None:
    state = SteerState(clip_id="clip-1", prompt="What?", clamps=(Clamped(7, 4.0), Clamped(12, 2.5)), when="after_topk")
    assert state.to_query() == "?clip=clip-1&ask=What%3F&clamp=7%3A4%2C12%3A2.5&when=after_topk"
    assert SteerState.from_query(params(state.to_query())) == state


steer_states = st.builds(
    SteerState,
    sae_id=st.text(max_size=40),
    clip_id=st.text(max_size=40),
    prompt=st.text(max_size=100),
    clamps=st.lists(
        st.builds(Clamped, st.integers(0, 10**8), st.integers(-400, 4000).map(lambda n: n / 4)),
        max_size=MAX_CLAMPS,
        unique_by=lambda c: c.latent_id,
    ).map(tuple),
    when=st.sampled_from(WHEN),
    positions=st.sampled_from(POSITIONS),
    decoding=st.sampled_from(DECODING),
    error_term=st.booleans(),
)


@given(steer_states)
def test_every_steer_state_comes_back_from_its_address(state: SteerState) -> None:
    assert SteerState.from_query(params(state.to_query())) == state


@pytest.mark.parametrize("value", ["x", "7:x", "7:nan", "7:inf", "-1:2", "٣", ",".join(str(i) for i in range(9))])
def test_wrong_clamps_are_named(value: str) -> None:
    with pytest.raises(ViewError, match="clamp"):
        SteerState.from_query({"clamp": value})


@pytest.mark.parametrize(
    ("kind", "key", "value"), [(MapState, "colour", "red"), (ListenState, "top", "31"), (SteerState, "error", "yes")]
)
def test_a_wrong_value_of_the_other_pages_is_named(kind: type[MapState], key: str, value: str) -> None:
    with pytest.raises(ViewError, match=f"{key}="):
        kind.from_query({key: value})


def test_a_second_click_on_the_same_column_turns_the_order_round() -> None:
    once = ViewState(page=3).sorted_by("density")
    assert (once.sort, once.reverse, once.page) == ("density", False, 1)
    assert once.sorted_by("density").reverse
    assert not once.sorted_by("density").sorted_by("name").reverse
    assert ViewState().sorted_by("monosemanticity").reverse, "the first click on the column it is sorted by"
