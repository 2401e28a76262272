"""What each file of a request is for, read from its operation before the bytes come."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graph import multipart, plan
from graph.plan import Use

ONE = "mutation ($input: UploadFileInput!) { uploadFile(input: $input) { __typename } }"
MANY = "mutation ($input: UploadFilesInput!) { uploadFiles(input: $input) { __typename } }"


def planned(query: str, variables: Any, **places: str) -> dict[str, set[str]] | None:
    """The profiles of each file; `places` is the name of a file -> its paths, with blanks between them."""
    found = uses(query, variables, **places)
    return None if found is None else {name: {use.profile for use in each} for name, each in found.items()}


def uses(query: str, variables: Any, **places: str) -> dict[str, list[Use]] | None:
    operations: Any = {"query": query, "variables": variables}
    file_map = {name: [f"variables.{path}" for path in paths.split()] for name, paths in places.items()}
    if file_map:
        multipart.place(operations, file_map, plan.slots(file_map))
    return plan.uses(operations, default="default")


@pytest.mark.parametrize(
    "query, variables, profile",
    [
        (ONE, {"input": {"file": None, "profile": "avatar"}}, "avatar"),
        (ONE, {"input": {"file": None}}, "default"),
        (ONE, {"input": {"file": None, "profile": None}}, "default"),
        (ONE, {"input": {"file": None, "profile": "nope"}}, "nope"),
        (ONE, {"input": {"file": None, "profile": ""}}, ""),
        (ONE, {"input": {"file": None, "profile": 5}}, "default"),  # refused later
        (ONE, {"input": {"file": None, "profile": ["avatar"]}}, "default"),
        (ONE, {"input": {"file": None, "profile": {"avatar": 1}}}, "default"),
    ],
    ids=["named", "left out", "null", "unknown", "empty", "a number", "a list", "an object"],
)
def test_the_profile_stands_beside_the_file_in_a_variable(query, variables, profile):
    assert planned(query, variables, a="input.file") == {"a": {profile}}


def sent(profile: str) -> str:
    return "uploadFile(input: {file: $f, profile: " + profile + "}) { id }"


AVATAR = sent('"avatar"')
WRITTEN = {
    "literal": "mutation ($f: Upload!) { " + AVATAR + " }",
    "block string": "mutation ($f: Upload!) { " + sent('"""avatar"""') + " }",
    "alias": "mutation ($f: Upload!) { x: " + AVATAR + " }",
    "variable": "mutation ($f: Upload!, $p: String) { " + sent("$p") + " }",
    "variable over its default": 'mutation ($f: Upload!, $p: String = "image") { ' + sent("$p") + " }",
    "default of a variable": 'mutation ($f: Upload!, $q: String = "avatar") { ' + sent("$q") + " }",
    "fragment": "mutation ($f: Upload!) { ...F } fragment F on Mutation { " + AVATAR + " }",
    "inline fragment": "mutation ($f: Upload!) { ... { ... on Mutation { " + AVATAR + " } } }",
    "fragments in a circle": "mutation ($f: Upload!) { ...F } fragment F on Mutation { ...G } "
    "fragment G on Mutation { ...F " + AVATAR + " }",
    "several operations": "query A { viewer { id } } mutation B ($f: Upload!) { " + AVATAR + " }",
    "one for a list": 'mutation ($f: Upload!) { uploadFiles(input: {files: $f, profile: "avatar"}) { id } }',
    "twice": 'mutation ($f: Upload!) { uploadFiles(input: {files: [$f, $f], profile: "avatar"}) { id } }',
}


@pytest.mark.parametrize("query", WRITTEN.values(), ids=WRITTEN)
def test_the_profile_is_found_however_it_is_written(query):
    assert planned(query, {"f": None, "p": "avatar"}, a="f") == {"a": {"avatar"}}


@pytest.mark.parametrize(
    "query",
    [
        'mutation ($f: Upload!, $p: String = "image") { uploadFile(input: {file: $f, profile: $p}) { id } }',
        "mutation ($f: Upload!, $p: String) { uploadFile(input: {file: $f, profile: $p}) { id } }",
    ],
)
def test_null_is_the_default_profile_also_where_a_variable_has_another(query):
    assert planned(query, {"f": None, "p": None}, a="f") == {"a": {"default"}}


def test_files_in_a_list_share_a_profile():
    variables = {"input": {"files": [None, None], "profile": "avatar"}}
    found = planned(MANY, variables, a="input.files.0", b="input.files.1")
    assert found == {"a": {"avatar"}, "b": {"avatar"}}


def test_files_of_one_request_may_be_for_different_profiles():
    query = """
        mutation ($a: Upload!, $b: Upload!, $c: [Upload!]!) {
            first: uploadFile(input: {file: $a, profile: "avatar"}) { id }
            second: uploadFile(input: {file: $b}) { id }
            uploadFiles(input: {files: $c, profile: "image"}) { id }
        }
    """
    found = planned(query, {"a": None, "b": None, "c": [None, None]}, x="c.1", y="b", z="a")
    assert found == {"x": {"image"}, "y": {"default"}, "z": {"avatar"}}


def test_one_file_may_be_for_several_profiles():
    query = """
        mutation ($a: Upload!, $b: Upload!, $c: Upload!) {
            first: uploadFile(input: {file: $a, profile: "avatar"}) { id }
            second: uploadFile(input: {file: $b, profile: "image"}) { id }
            third: uploadFile(input: {file: $c}) { id }
        }
    """
    found = planned(query, {"a": None, "b": None, "c": None}, x="a b c")
    assert found == {"x": {"avatar", "image", "default"}}


def test_a_variable_in_two_places_is_for_both_profiles():
    query = """
        mutation ($f: Upload!) {
            first: uploadFile(input: {file: $f, profile: "avatar"}) { id }
            second: uploadFile(input: {file: $f, profile: "image"}) { id }
        }
    """
    assert planned(query, {"f": None}, x="f") == {"x": {"avatar", "image"}}


@pytest.mark.parametrize(
    "given, visibility",
    [
        ({}, None),
        ({"visibility": None}, None),
        ({"visibility": "PUBLIC"}, "PUBLIC"),
        ({"visibility": 5}, None),
    ],
    ids=["left out", "null", "given", "a number"],
)
def test_the_visibility_stands_beside_the_file_too(given, visibility):
    found = uses(ONE, {"input": {"file": None, **given}}, a="input.file")
    assert found == {"a": [Use("default", visibility)]}


def test_the_visibility_may_be_written_in_the_document():
    query = "mutation ($f: Upload!) { uploadFile(input: {file: $f, visibility: PUBLIC}) { id } }"
    assert uses(query, {"f": None}, a="f") == {"a": [Use("default", "PUBLIC")]}


@pytest.mark.parametrize(
    "query",
    [
        "mutation ($f: Upload!) { a: uploadFile(input: {file: $f}) { id } ...F } "
        "fragment F on Mutation { b: uploadFile(input: {file: $f}) { id } }",
        "mutation ($f: Upload!) { uploadFiles(input: {files: [$f, $f]}) { id } }",
        "mutation A ($f: Upload!) { uploadFile(input: {file: $f}) { id } } "
        "mutation B ($f: Upload!) { uploadFile(input: {file: $f}) { id } }",
    ],
    ids=["twice", "twice in a list", "in either of two operations"],
)
def test_each_upload_of_a_file_counts_also_by_the_same_profile(query):
    assert uses(query, {"f": None}, a="f") == {"a": [Use("default", None)] * 2}


@pytest.mark.parametrize(
    "query",
    [
        "mutation ($f: Upload!) { updateFile(input: {file: $f}) { id } }",
        "mutation ($f: Upload!) { viewer { uploadFile(input: {file: $f}) { id } } }",
        "mutation ($f: Upload!) { uploadFile { id } }",
        "mutation ($f: Upload!) { uploadFile(input: $f) { id } }",
        "mutation ($f: Upload!) { uploadFile(input: {files: $f}) { id } }",
        "mutation ($f: Upload!) { uploadFile(input: {metadata: $f}) { id } }",
        "mutation ($f: Upload!) { uploadFile(input: [{file: $f}]) { id } }",
        "mutation ($f: Upload!) { uploadFile(input: {file: $other}) { id } }",
        "mutation ($f: Upload!) { uploadFile(input: {file: {file: $f}}) { id } }",
        "mutation ($f: Upload!) { ...nope }",
        "fragment f on Mutation { uploadFile(input: {file: $f}) { id } }",
        "type Mutation { uploadFile: Int }",
    ],
)
def test_a_file_that_no_upload_takes_is_for_no_profile(query):
    assert planned(query, {"f": None}, x="f") == {}


def test_a_file_in_variables_that_nothing_uses_is_for_no_profile():
    assert planned("{ viewer { id } }", {"f": {"file": None}}, x="f.file") == {}


@pytest.mark.parametrize(
    "operations",
    [
        [{"query": ONE, "variables": {"input": {"file": None}}}],
        [],
        None,
        1,
        "query",
        {},
        {"query": None},
        {"query": 5},
        {"query": ["{ a }"]},
        {"query": ""},
        {"query": "{"},
        {"query": "{a" * 1_000},
        {"query": "{" + "a " * 5_000 + "}"},
        {"query": "\x00"},
    ],
    ids=lambda operations: str(operations)[:30],
)
def test_of_what_will_not_run_nothing_is_known(operations):
    assert plan.uses(operations, default="default") is None


@pytest.mark.parametrize("variables", [None, [], "x", 1, {"f": "x"}, {"input": None}])
def test_variables_without_files_are_for_no_profile(variables):
    assert planned(ONE, variables) == {}


# --- whatever comes --------------------------------------------------------------------------------

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["avatar", "", "x"])
    | st.builds(lambda: next(iter(plan.slots({"a": 0}).values()))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["file", "files", "profile", "input", "f"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_literals = st.recursive(
    st.sampled_from(
        [
            "$f",
            "$p",
            "$nope",
            "null",
            "true",
            "A",
            '"avatar"',
            "1",
            "1e999",
            "-0",
            "9" * 5_000,
            '"""x"""',
            "{}",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{' '.join(values)}]")
        | st.dictionaries(st.sampled_from(["file", "files", "profile"]), inner, max_size=3).map(
            lambda fields: "{" + " ".join(f"{name}: {value}" for name, value in fields.items()) + "}"
        )
    ),
    max_leaves=8,
)
_fields = st.builds(
    lambda alias, name, argument, value: f"{alias} {name}({argument}: {value}) {{ id }}",
    st.sampled_from(["", "x:"]),
    st.sampled_from(["uploadFile", "uploadFiles", "updateFile", "f"]),
    st.sampled_from(["input", "files"]),
    _literals,
)
_selections = st.lists(
    _fields
    | st.sampled_from(["...F", "...G", "... { ...F }", "... on Mutation @skip(if: $p) { ...G }", "f"]),
    min_size=1,
    max_size=3,
).map(" ".join)
_documents = st.builds(
    lambda default, operation, one, other: (
        f"mutation ($f: Upload, $p: String = {default}) {{ {operation} }}"
        f" fragment F on Mutation {{ {one} }} fragment G on Mutation {{ {other} }}"
    ),
    st.sampled_from(["null", '"avatar"', "[1 {a: 1e999}]", "9" * 5_000]),
    _selections,
    _selections,
    _selections,
)


@settings(deadline=None, max_examples=200)
@given(_documents | st.text(max_size=50), _values)
@example("mutation ($f: Upload!) { uploadFile(input: {file: $f, metadata: 1e99999}) { id } }", {})
@example("mutation ($f: Upload!) { uploadFile(input: {file: $f, profile: $f}) { id } }", {"f": [1]})
def test_whatever_comes_it_is_read_or_not_known(query, variables):
    found = plan.uses({"query": query, "variables": variables}, default="default")
    assert found is None or set(found) <= {"a"}
    for each in (found or {}).values():
        assert each
        assert all(isinstance(use.profile, str) for use in each)
        assert all(isinstance(use.visibility, str | None) for use in each)
