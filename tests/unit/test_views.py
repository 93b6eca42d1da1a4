from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.views import MAX_QUERY, METHODS, SIDES, SORTS, ViewError, ViewState


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
