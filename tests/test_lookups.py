"""Looking for files by their tags: with some of the words, and with all of them."""

import pytest

from accounts.models import User
from files.models import File, new_id

ODD_WORDS = [
    "'); DROP TABLE files_file; --",
    "' OR '1'='1",
    '"',
    "\\",
    "%",
    "_",
    "%s",
    "?",
    "null",
    "true",
    "1",
    "[]",
    '["red"]',
    '{"red": 1}',
    "$[0]",
    "grün",
    "赤",
    "🟥",
    "e\u0301",
    "tab\tand\nline",
    "RED",
    "red blue",
    " red",
]


def tagged(owner: User, *tags: str) -> File:
    file_id = new_id()
    return File.objects.create(
        id=file_id,
        owner=owner,
        name=" ".join(tags) or "none",
        tags=list(tags),
        profile="default",
        kind="other",
        content_type="application/octet-stream",
        size=1,
        md5="0" * 32,
        sha256="0" * 64,
        storage="default",
        key=str(file_id),
    )


def found(**lookup: list[str]) -> set[str]:
    return set(File.objects.filter(**lookup).values_list("name", flat=True))


@pytest.fixture
def files(alice: User) -> None:
    for tags in [(), ("red",), ("blue",), ("red", "blue"), ("red", "blue", "green")]:
        tagged(alice, *tags)


@pytest.mark.parametrize(
    "words, names",
    [
        (["red"], {"red", "red blue", "red blue green"}),
        (["red", "blue"], {"red", "blue", "red blue", "red blue green"}),
        (["green", "grey"], {"red blue green"}),
        (["grey"], set()),
        (["re"], set()),
        (["green", "green"], {"red blue green"}),
        ([], set()),
    ],
)
def test_any_finds_files_with_at_least_one_of_the_words(files, words: list[str], names: set[str]) -> None:
    assert found(tags__has_any=words) == names


@pytest.mark.parametrize(
    "words, names",
    [
        (["red"], {"red", "red blue", "red blue green"}),
        (["red", "blue"], {"red blue", "red blue green"}),
        (["blue", "red"], {"red blue", "red blue green"}),
        (["red", "grey"], set()),
        (["red", "red"], {"red", "red blue", "red blue green"}),
        (["red", "blue", "red", "blue"], {"red blue", "red blue green"}),
        ([], {"none", "red", "blue", "red blue", "red blue green"}),
    ],
)
def test_all_finds_files_with_every_one_of_the_words(files, words: list[str], names: set[str]) -> None:
    assert found(tags__has_all=words) == names


def test_a_tag_that_a_file_has_twice_does_not_stand_for_another(alice: User) -> None:
    tagged(alice, "red", "red")
    assert found(tags__has_all=["red", "blue"]) == set()
    assert found(tags__has_all=["red"]) == {"red red"}


@pytest.mark.parametrize("word", ODD_WORDS)
def test_a_word_is_compared_as_it_is(alice: User, word: str) -> None:
    tagged(alice, "red")
    odd = tagged(alice, word, "other")
    assert set(File.objects.filter(tags__has_any=[word])) == {odd}
    assert set(File.objects.filter(tags__has_all=[word, "other"])) == {odd}
    assert File.objects.count() == 2


def test_both_may_be_asked_for_at_once_and_turned_around(files) -> None:
    assert found(tags__has_any=["green", "blue"], tags__has_all=["red"]) == {"red blue", "red blue green"}
    others = File.objects.exclude(tags__has_any=["red"])
    assert {file.name for file in others} == {"none", "blue"}


def test_a_hundred_words_can_be_asked_for(files) -> None:
    many = [f"word {number}" for number in range(99)]
    assert found(tags__has_any=[*many, "green"]) == {"red blue green"}
    assert found(tags__has_all=[*many, "green"]) == set()
