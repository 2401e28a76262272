"""The multipart request specification: where files go, and every way in which a request can be malformed."""

import copy
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from graph import multipart
from graph.multipart import MAX_PATHS, MultipartError

untimed = settings(deadline=None)


class Upload:
    """What stands for a received file; no JSON value is equal to it."""


FILE, OTHER = Upload(), Upload()


def refusal(operations: object, file_map: object, files: dict[str, Upload] | None = None) -> str:
    with pytest.raises(MultipartError) as refused:
        multipart.place(operations, file_map, {"0": FILE} if files is None else files)
    return str(refused.value)


# --- where files go --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operations, file_map, expected",
    [
        (
            {"query": "q", "variables": {"file": None}},
            {"0": ["variables.file"]},
            {"query": "q", "variables": {"file": FILE}},
        ),
        (
            {"query": "q", "variables": {"input": {"file": None, "title": "t"}}},
            {"0": ["variables.input.file"]},
            {"query": "q", "variables": {"input": {"file": FILE, "title": "t"}}},
        ),
        (
            {"variables": {"files": [None, None]}},
            {"0": ["variables.files.0"], "1": ["variables.files.1"]},
            {"variables": {"files": [FILE, OTHER]}},
        ),
        (
            {"variables": {"files": [None, None]}},
            {"1": ["variables.files.0"], "0": ["variables.files.1"]},
            {"variables": {"files": [OTHER, FILE]}},
        ),
        (
            {"variables": {"a": None, "b": [{"c": None}]}},
            {"0": ["variables.a", "variables.b.0.c"]},
            {"variables": {"a": FILE, "b": [{"c": FILE}]}},
        ),
        (
            {"variables": {"files": [None] * 11}},
            {"0": ["variables.files.10"]},
            {"variables": {"files": [None] * 10 + [FILE]}},
        ),
        (
            [{"variables": {"file": None}}, {"variables": {"files": [None]}}],
            {"0": ["0.variables.file"], "1": ["1.variables.files.0"]},
            [{"variables": {"file": FILE}}, {"variables": {"files": [OTHER]}}],
        ),
        # names that mean something elsewhere are names like any other
        (
            {"variables": {"__proto__": None, "0": None, "": None, "variables": {"variables": None}}},
            {
                "0": ["variables.__proto__", "variables.0"],
                "1": ["variables.", "variables.variables.variables"],
            },
            {"variables": {"__proto__": FILE, "0": FILE, "": OTHER, "variables": {"variables": OTHER}}},
        ),
    ],
    ids=[
        "a variable",
        "an input",
        "a list",
        "crosswise",
        "one file twice",
        "two digits",
        "a batch",
        "odd names",
    ],
)
def test_each_file_is_put_where_the_map_says(operations, file_map, expected):
    placed = multipart.place(operations, file_map, {"0": FILE, "1": OTHER})

    assert placed == expected


def test_a_file_that_the_map_does_not_name_is_left_out():
    operations = {"variables": {"file": None}}

    placed = multipart.place(operations, {"0": ["variables.file"]}, {"0": FILE, "1": OTHER})
    assert placed == {"variables": {"file": FILE}}


def test_one_file_may_stand_in_many_places():
    operations: dict[str, Any] = {"variables": {"files": [None] * MAX_PATHS}}
    paths = [f"variables.files.{number}" for number in range(MAX_PATHS)]

    placed = multipart.place(operations, {"0": paths}, {"0": FILE})
    assert placed == {"variables": {"files": [FILE] * MAX_PATHS}}


# --- malformed requests ----------------------------------------------------------------------------


@pytest.mark.parametrize("operations", [None, 1, 1.5, True, "{}", "variables"])
def test_operations_are_an_object_or_a_list_of_them(operations):
    assert refusal(operations, {"0": ["variables.file"]}).startswith("operations: ")


@pytest.mark.parametrize("file_map", [None, 1, True, "0", [], [["variables.file"]], {}])
def test_the_map_is_an_object_with_something_in_it(file_map):
    assert refusal({"variables": {"file": None}}, file_map).startswith("map: ")


@pytest.mark.parametrize(
    "paths",
    [
        None,
        1,
        "variables.file",
        [],
        {},
        {"variables.file": 0},
        [None],
        [1],
        [["variables.file"]],
        ["variables.file", 2],
    ],
)
def test_the_paths_of_a_file_are_a_list_of_text(paths):
    assert refusal({"variables": {"file": None}}, {"0": paths}).startswith("map.0: has to be a list of paths")


def test_a_file_that_was_not_sent_is_missed():
    message = refusal({"variables": {"file": None}}, {"7": ["variables.file"]})

    assert message == "map.7: there is no such file in the request."


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "variables",
        "query",
        "query.0",
        "file",
        "extensions.file",
        "Variables.file",
        " variables.file",
        "0.variables.file",
        ".variables.file",
    ],
)
def test_a_path_leads_into_variables(path):
    operations = {"query": None, "file": None, "extensions": {"file": None}, "variables": {"file": None}}

    assert refusal(operations, {"0": [path]}) == f"map: the path {path!r} does not lead into variables."


@pytest.mark.parametrize(
    "path",
    [
        "variables",
        "variables.file",
        "0.variables",
        "0.query",
        "0.extensions.file",
        "0",
        "0.0.variables.file",
    ],
)
def test_a_path_of_a_batch_leads_into_the_variables_of_one_operation(path):
    operations = [{"query": None, "extensions": {"file": None}, "variables": {"file": None}}]

    assert "does not lead into variables" in refusal(operations, {"0": [path]})


@pytest.mark.parametrize(
    "path, at",
    [
        ("variables.nope", "nope"),
        ("variables.file.deeper", "deeper"),
        ("variables.text.0", "0"),
        ("variables.text.length", "length"),
        ("variables.number.real", "real"),
        ("variables.__proto__", "__proto__"),
        ("variables.__class__", "__class__"),
        ("variables.constructor.prototype", "constructor"),
        ("variables.keys", "keys"),
        ("variables.list.append", "append"),
        ("variables.list.__len__", "__len__"),
        ("variables.list.3", "3"),
        ("variables.list.-1", "-1"),
        ("variables.list.+1", "+1"),
        ("variables.list. 1", " 1"),
        ("variables.list.1 ", "1 "),
        ("variables.list.01", "01"),
        ("variables.list.00", "00"),
        ("variables.list.0x1", "0x1"),
        ("variables.list.1e0", "1e0"),
        ("variables.list.1_0", "1_0"),
        ("variables.list.１", "１"),
        ("variables.list.١", "١"),
        ("variables.list.²", "²"),
        ("variables.list.", ""),
        ("variables.list.*", "*"),
        ("variables.list.99999", "99999"),
        ("variables.list." + "9" * 5_000, "9" * 5_000),
        ("variables..file", ""),
        ("variables.file.", ""),
        ("variables.object.0", "0"),
    ],
    ids=lambda value: value[:30],
)
def test_a_path_leads_to_a_place_that_is_there(path, at):
    operations: dict[str, Any] = {
        "variables": {"file": None, "text": "abc", "number": 1, "list": [None, None, None], "object": {}}
    }
    before = copy.deepcopy(operations)

    assert refusal(operations, {"0": [path]}) == f"map: the path {path!r} leads to nothing at {at!r}."
    assert operations == before


@pytest.mark.parametrize("at", [0, "", "text", False, [], {}, [None]])
def test_a_file_never_takes_the_place_of_a_value(at):
    message = refusal({"variables": {"file": at}}, {"0": ["variables.file"]})

    assert message == "map: at 'variables.file' there has to be null, to be replaced by the file."


@pytest.mark.parametrize(
    "file_map",
    [
        {"0": ["variables.file", "variables.file"]},
        {"0": ["variables.file"], "1": ["variables.file"]},
    ],
)
def test_a_place_is_for_one_file_once(file_map):
    message = refusal({"variables": {"file": None}}, file_map, {"0": FILE, "1": OTHER})

    assert "there has to be null" in message


def test_a_path_does_not_lead_through_a_file_that_was_placed():
    message = refusal({"variables": {"file": None}}, {"0": ["variables.file", "variables.file.name"]})

    assert "leads to nothing at 'name'" in message


@pytest.mark.parametrize("operations", [[None], [[]], ["variables"], [{}], [{"variables": None}]])
def test_a_batch_is_of_operations_with_variables(operations):
    assert "leads to nothing" in refusal(operations, {"0": ["0.variables.file"]})


@pytest.mark.parametrize("variables", [None, "file", 3, True])
def test_variables_that_hold_nothing_take_no_file(variables):
    message = refusal({"variables": variables}, {"0": ["variables.file"]})

    assert "leads to nothing at 'file'" in message


@pytest.mark.parametrize("names", [1, 2, MAX_PATHS + 1])
def test_there_are_no_more_places_than_a_form_has(names):
    each, more = divmod(MAX_PATHS + 1, names)
    paths = [f"variables.files.{number}" for number in range(MAX_PATHS + 1)]
    file_map = {}
    for number in range(names):
        cut = each + (more if number == 0 else 0)
        file_map[str(number)], paths = paths[:cut], paths[cut:]
    operations = {"variables": {"files": [None] * (MAX_PATHS + 1)}}

    message = refusal(operations, file_map, dict.fromkeys(file_map, FILE))
    assert message == f"map: names more than {MAX_PATHS} places."


def test_depth_is_no_danger():
    inner: dict[str, Any] = {"a": None}
    variables = inner
    for _ in range(10_000):
        variables = {"a": variables}
    path = ".".join(["variables", *["a"] * 10_001])

    multipart.place({"variables": variables}, {"0": [path]}, {"0": FILE})

    assert inner == {"a": FILE}


# --- whatever comes --------------------------------------------------------------------------------

_keys = st.sampled_from(["variables", "a", "b", "0", "1", "", "__proto__", "query"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)
_request = st.fixed_dictionaries({"variables": _values}, optional={"query": _values, "a": _values})
_operations = _request | st.lists(_request | _values, max_size=3) | _values
_steps = _keys | st.sampled_from(["2", "-1", "+0", "００", "00", "x"])
_paths = st.lists(_steps, min_size=0, max_size=4).map(".".join)
_maps = st.dictionaries(st.sampled_from(["0", "1", "9"]), st.lists(_paths, max_size=3) | _values, max_size=3)


def _places(value: object, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Every value that holds no other, and every empty list and object, by the way that leads there."""
    if isinstance(value, dict) and value:
        return {way: leaf for key, each in value.items() for way, leaf in _places(each, (*at, key)).items()}
    if isinstance(value, list) and value:
        return {
            way: leaf
            for number, each in enumerate(value)
            for way, leaf in _places(each, (*at, str(number))).items()
        }
    return {at: value}


@untimed
@given(_operations, _maps | _values)
@example({"variables": {"a": [None]}}, {"0": ["variables.a.0"]})
@example([{"variables": {"a": None}}], {"1": ["0.variables.a"]})
def test_whatever_comes_it_is_refused_or_files_stand_where_they_belong(operations, file_map):
    files = {"0": FILE, "1": OTHER}
    before = _places(copy.deepcopy(operations))
    try:
        placed = _places(multipart.place(operations, file_map, files))
    except MultipartError:
        return

    named = {tuple(path.split(".")): files[name] for name, paths in file_map.items() for path in paths}
    assert named
    assert all(before[way] is None for way in named)
    assert placed == before | named


@untimed
@given(_request | st.lists(_request, min_size=1, max_size=3), st.data())
def test_every_null_in_variables_can_be_named(operations, data):
    depth = 1 if isinstance(operations, list) else 0
    nulls = sorted(
        ".".join(way)
        for way, leaf in _places(operations).items()
        if leaf is None and way[depth] == "variables" and len(way) > depth + 1
    )
    assume(nulls)
    paths = data.draw(st.lists(st.sampled_from(nulls), min_size=1, unique=True))

    before = _places(copy.deepcopy(operations))
    placed = _places(multipart.place(operations, {"0": paths}, {"0": FILE}))

    assert placed == before | {tuple(path.split(".")): FILE for path in paths}
