from __future__ import annotations

import numpy as np
import pytest

from ard.naming import NAMER, NO_NAME, ContrastiveNamer, NamingError, name_concept, name_concepts, phrases

OTHERS = [
    "a woman speaks happily while an engine idles",
    "an engine idles, then a bell rings",
    "a cat meows twice",
    "birds chirp in the distance",
    "a man speaks near a window",
    "rain falls on a roof",
    "a door closes and footsteps pass",
    "music plays from a radio",
] * 3


def test_phrases_stay_in_a_clause_and_have_no_loose_ends() -> None:
    assert phrases("A dog barks, then rain") == ["dog", "dog barks", "barks", "rain"]
    assert phrases("The sound of a bell") == ["sound", "sound of a bell", "bell"]
    assert phrases("in the of a") == []
    assert max(len(p.split()) for p in phrases("one two three four five six seven")) == 5


def test_the_shared_phrase_is_the_name() -> None:
    captions = [
        "A dog barks in the distance.",
        "A dog barks while a man speaks",
        "the dog barks loudly, then a bell rings",
        "Engine idles and a dog barks",
    ]
    named = name_concept(captions, OTHERS)
    assert named.name == "dog barks"
    assert named.description == "Dog barks."
    assert named.support == 4
    assert named.captions == tuple(captions)
    assert named.namer == NAMER


def test_three_of_four_are_enough_and_two_are_not() -> None:
    assert name_concept(["a dog barks", "dog barks", "the dog barks", "a cow moos"], OTHERS)[:2] == (
        "dog barks",
        "Dog barks.",
    )
    assert name_concept(["a dog barks", "dog barks", "a horn blows", "a cow moos"], OTHERS).name == NO_NAME


def test_one_word_grows_into_a_longer_phrase() -> None:
    named = name_concept(["a dog", "a dog barks", "dog barks", "the dog barks"], OTHERS)
    assert (named.name, named.support) == ("dog barks", 3)


def test_common_words_behind_a_preposition_are_dropped() -> None:
    far = ["rain falls in the distance", "a horn blows in the distance", "music plays in the distance"] * 6
    assert name_concept(["a dog barks in the distance"] * 4, [*OTHERS, *far]).name == "dog barks"
    # Where distance is rare it tells these clips from others, and stays.
    assert name_concept(["a dog barks in the distance"] * 4, OTHERS).name == "dog barks in the distance"


def test_a_common_verb_stays_with_its_noun() -> None:
    speakers = ["a woman speaks", "a child speaks", "a man speaks", "a cat meows"] * 5
    assert name_concept(["a man speaks"] * 4, [*speakers, *OTHERS]).name == "man speaks"


def test_what_the_background_shares_is_no_name() -> None:
    background = ["a man speaks in a room"] * 10
    captions = ["a man speaks in a room with a fan"] * 3 + ["a man speaks in a room"]
    assert name_concept(captions, background).name == "fan"
    assert name_concept(["a man speaks"] * 4, background).name == NO_NAME


def test_nothing_shared_is_said() -> None:
    named = name_concept(["cat meows", "rain falls", "wind blows", "bell rings"], OTHERS)
    assert named.name == NO_NAME
    assert named.support == 0
    assert "share no phrase" in named.description


def test_two_shared_events_are_both_described() -> None:
    named = name_concept(["A dog barks and then a siren wails"] * 4, OTHERS)
    assert named.name == "dog barks"
    assert named.description == "Dog barks, siren wails."


def test_names_are_short_and_made_of_the_captions_words() -> None:
    captions = ["the small brown dog barks very loudly outside a wooden house at night"] * 4
    named = name_concept(captions, OTHERS)
    assert 1 <= len(named.name.split()) <= 5
    assert named.name in captions[0]
    words = set(named.description.lower().strip(".").replace(",", "").split())
    assert words <= set(captions[0].split())


def test_the_order_of_captions_changes_nothing() -> None:
    captions = ["a dog barks", "a dog barks twice", "a big dog barks", "a dog howls"]
    first = name_concept(captions, OTHERS)
    again = name_concept(captions[::-1], OTHERS[::-1])
    assert first[:2] == again[:2]


def test_many_latents_equal_one_by_one() -> None:
    captions = ["a dog barks", "the dog barks", "dog barks", "dog barks twice", "cow moos", "cow moos", *OTHERS]
    most = np.array([[0, 1, 2, 3], [4, 5, -1, -1], [6, 7, 8, 9]])
    named = name_concepts(captions, most)
    assert [n.name for n in named] == ["dog barks", "cow moos", NO_NAME]
    assert named[0] == name_concept(captions[:4], captions[4:])
    assert named[1].captions == ("cow moos", "cow moos")


def test_one_caption_shares_nothing() -> None:
    assert name_concepts(["a dog barks", *OTHERS], [[0]])[0].name == NO_NAME


def test_bad_input_is_refused() -> None:
    with pytest.raises(NamingError, match="background"):
        name_concept(["a dog"], [])
    with pytest.raises(NamingError, match="contains a word"):
        ContrastiveNamer(["...", ""])
    with pytest.raises(NamingError, match="different whole numbers"):
        ContrastiveNamer(["a dog", "a cat"]).name([5])
    with pytest.raises(NamingError, match="background"):
        ContrastiveNamer(["a dog", "a cat"]).name([0, 1])


def test_many_sets_get_the_names_that_each_gets_alone() -> None:
    captions = [f"a dog barks {w}" for w in ("loudly", "twice", "far away", "again")] + OTHERS
    namer = ContrastiveNamer(captions)
    rng = np.random.default_rng(0)
    sets = [[0, 1, 2, 3], [0], *(rng.permutation(len(captions))[: 2 + i % 4].tolist() for i in range(40))]
    found = namer.name_many(sets)
    assert found[0].name == "dog barks"
    assert found[1].name == NO_NAME
    assert found == [namer.name(rows) for rows in sets]
    assert namer.name_many([]) == []
    with pytest.raises(NamingError, match="must be different"):
        namer.name_many([[0, 1], []])
