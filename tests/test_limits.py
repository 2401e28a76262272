"""How much one document may ask for: each measure alone, and every known way to be expensive over HTTP."""

import dataclasses
import json
import re
from typing import Any

import pytest
from graphql import get_introspection_query, parse
from hypothesis import given
from hypothesis import strategies as st

from graph import limits
from graph.limits import LIMITS, Limits, Spent
from graph.schema import schema
from tests.api import FILE_FIELDS, Api, record

UNLIMITED = Limits(**{field.name: 10**30 for field in dataclasses.fields(Limits)})
GRAPHQL_RESPONSE = "application/graphql-response+json"


def found(measure: str, query: str, variables: dict[str, Any] | None = None) -> int:
    """What one measure of the document comes to, as the refusal says when nothing of it is allowed."""
    strict = dataclasses.replace(UNLIMITED, **{measure: -1})
    (error,) = limits.check(parse(query), variables=variables, limits=strict)
    assert error.extensions == {"code": "QUERY_TOO_LARGE", "limit": -1, "measure": measure}
    numbers = re.findall(r"(?:is|are) (-?\d+),", error.message)
    return int(numbers[0])


# --- each measure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, depth",
    [
        ("{a}", 1),
        ("{a b c}", 1),
        ("{a {b {c}} d {e}}", 3),
        ("{... on Query {... {a}}}", 1),
        ("{a {... on A {b}}}", 2),
        ("{...f} fragment f on Query {a {b}}", 2),
        ("{a {...f}} fragment f on A {b {c}}", 3),
        ("{a {...f} b {c {...f}}} fragment f on A {d}", 3),
    ],
)
def test_depth_is_that_of_the_deepest_field(query, depth):
    assert found("depth", query) == depth


@pytest.mark.parametrize(
    "query, fields",
    [
        ("{a}", 1),
        ("{a a a}", 3),
        ("{a {b {c}} d {e}}", 5),
        ("{... on Query {a} ... {b}}", 2),
        ("{...f ...f} fragment f on Query {a {b}}", 4),
        ("{a {...f} b {...f}} fragment f on A {c ...g} fragment g on A {d e}", 8),
    ],
)
def test_fields_are_counted_wherever_they_run(query, fields):
    assert found("fields", query) == fields


@pytest.mark.parametrize(
    "query, aliases",
    [
        ("{a}", 0),
        ("{x: a}", 1),
        ("{x: a {y: b} c {z: d}}", 3),
        ("{...f ...f} fragment f on Query {x: a y: a}", 4),
        ("{... {x: a}}", 1),
    ],
)
def test_aliases_are_counted_wherever_they_run(query, aliases):
    assert found("aliases", query) == aliases


@pytest.mark.parametrize(
    "query, directives",
    [
        ("{a}", 0),
        ("query @x @x {a}", 2),
        ("{a @x @x @y}", 3),
        ("{a {b @x} c @x}", 2),
        ("{... @x {a}}", 1),
        ("{... on Query @x @y {a @z}}", 3),
        ("{...f @x} fragment f on Query {a}", 1),
        ("{...f ...f} fragment f on Query @x {a @y}", 4),
        ("query ($a: Int @x @y, $b: Int @z) {a}", 3),
    ],
)
def test_directives_are_counted_wherever_they_may_stand(query, directives):
    assert found("directives", query) == directives


@pytest.mark.parametrize(
    "query, root_fields",
    [
        ("{a}", 1),
        ("{a a x: a}", 3),
        ("{a {b c d}}", 1),
        ("{... on Query {a b} c}", 3),
        ("{...f a {...g}} fragment f on Query {b c} fragment g on A {d e}", 3),
        ("mutation {...f ...f} fragment f on Mutation {...g} fragment g on Mutation {a}", 2),
    ],
)
def test_fields_of_the_root_are_counted_apart(query, root_fields):
    assert found("root_fields", query) == root_fields
    document = parse(query)
    assert limits.root_fields(document, document.definitions[0]) == root_fields  # type: ignore[arg-type]


PAGE = "{ files(%s) { edges { node { id } } } }"  # the list, and in each item an edge, a file and its id
PAGE_OF = "query (%s) { files(first: $n) { edges { node { id } } } }"
LAST_OF = "query (%s) { files(first: $n, last: $m) { edges { node { id } } } }"


@pytest.mark.parametrize(
    "query, variables, cost",
    [
        ("{ a b { c } }", {}, 3),
        ("{ files { __typename } }", {}, 1 + 50),
        ("{ files }", {}, 1),  # without selections it is not ours, and refused later
        (PAGE % "first: 10", {}, 1 + 10 * 3),
        (PAGE % "last: 10", {}, 1 + 10 * 3),
        (PAGE % "first: 2, last: 7", {}, 1 + 7 * 3),
        (PAGE % "first: 0", {}, 1),
        (PAGE % "first: null", {}, 1 + 50 * 3),
        (PAGE % "first: null, last: 3", {}, 1 + 3 * 3),
        (PAGE % "first: 100", {}, 1 + 100 * 3),
        (PAGE % "first: 101", {}, 1 + 100 * 3),
        (PAGE % ("first: " + "9" * 5000), {}, 1 + 100 * 3),
        (PAGE % "first: -1", {}, 1),
        (PAGE % "first: -99999", {}, 1),
        (PAGE % ("first: -" + "9" * 5000), {}, 1),
        (PAGE % 'first: "10"', {}, 1 + 50 * 3),
        (PAGE_OF % "$n: Int", {"n": 10}, 1 + 10 * 3),
        (PAGE_OF % "$n: Int", {"n": 0}, 1),
        (PAGE_OF % "$n: Int", {"n": -5}, 1),
        (PAGE_OF % "$n: Int", {"n": 10**30}, 1 + 100 * 3),
        (PAGE_OF % "$n: Int", {"n": None}, 1 + 50 * 3),
        (PAGE_OF % "$n: Int", {}, 1 + 50 * 3),
        (PAGE_OF % "$n: Int = 20", {}, 1 + 20 * 3),
        (PAGE_OF % "$n: Int = 20", {"n": 30}, 1 + 30 * 3),
        (PAGE_OF % "$n: Int = 20", {"n": None}, 1 + 50 * 3),
        (PAGE_OF % "$n: Int = null", {}, 1 + 50 * 3),
        # JSON has no whole numbers, so GraphQL takes 10.0 for one; and other values it refuses.
        (PAGE_OF % "$n: Int", {"n": 10.0}, 1 + 100 * 3),
        (PAGE_OF % "$n: Int", {"n": "10"}, 1 + 100 * 3),
        (PAGE_OF % "$n: Int", {"n": [10]}, 1 + 100 * 3),
        (LAST_OF % "$n: Int, $m: Int", {"n": 10, "m": None}, 1 + 10 * 3),
        (LAST_OF % "$n: Int, $m: Int", {"m": 5}, 1 + 5 * 3),
        (LAST_OF % "$n: Int = 20, $m: Int = 30", {}, 1 + 30 * 3),
        (
            "{ files(first: 10) { ...f } } fragment f on FileConnection { totalCount edges { cursor } }",
            {},
            521,
        ),
        ("{ ...f } fragment f on Query { files(first: 10) { edges { cursor } } }", {}, 21),
        ("{ storageUsage { files } totalCount }", {}, 50 + 1 + 50),
        ("{ url { url } }", {}, 3 + 1),
        ("{ rendition(width: 1) { url width } }", {}, 4 + 2),
        ("{ srcset(widths: [1, 2, 3]) { url } }", {}, 1 + 3 * (5 + 1)),
        ("query ($w: [Int!]!) { srcset(widths: $w) { url } }", {"w": [1, 2]}, 1 + 2 * (5 + 1)),
    ],
)
def test_a_page_costs_what_its_files_cost(query, variables, cost):
    assert found("cost", query, variables) == cost


@pytest.mark.parametrize(
    "query, variables, cost",
    [
        ("mutation { uploadFile(input: {}) { id } }", {}, 100 + 1),
        ("mutation { updateFile(input: {}) { id } }", {}, 20 + 1),
        ("mutation { uploadFiles(input: {files: [$a, $b, $c]}) { id } }", {}, 1 + 3 * (100 + 1)),
        ("mutation { uploadFiles(input: {files: $f}) { id } }", {"f": [None] * 4}, 1 + 4 * 101),
        ("mutation { uploadFiles(input: $i) { id } }", {"i": {"files": [None] * 5}}, 1 + 5 * 101),
        ("mutation { uploadFiles(input: {files: $f}) { id } }", {"f": None}, 1 + 101),
        ("mutation { uploadFiles(input: $i) { id } }", {"i": [1, 2]}, 1 + 101),
        ("mutation { uploadFiles { id } }", {}, 1 + 101),
        ('mutation { deleteFiles(ids: ["a", "b"]) { id } }', {}, 1 + 2 * (20 + 1)),
        ('mutation { deleteFiles(ids: "a") { id } }', {}, 1 + 21),
        ("mutation ($ids: [ID!]!) { deleteFiles(ids: $ids) { id } }", {"ids": ["x"] * 30}, 1 + 30 * 21),
        ("mutation ($ids: [ID!]!) { deleteFiles(ids: [$ids]) { id } }", {"ids": ["x"] * 30}, 1 + 21),
        ("mutation ($ids: [ID!] = [1, 2, 3]) { deleteFiles(ids: $ids) { id } }", {}, 1 + 3 * 21),
        ("mutation ($ids: [ID!] = [1, 2, 3]) { deleteFiles(ids: $ids) { id } }", {"ids": [1]}, 1 + 21),
        (
            "mutation ($i: I = {files: [1, 2]}) { uploadFiles(input: $i) { id } }",
            {},
            1 + 2 * 101,
        ),
        ("mutation { a: uploadFile { id } b: uploadFile { id } }", {}, 2 * 101),
        ("mutation { ...f ...f } fragment f on Mutation { uploadFile { id } }", {}, 2 * 101),
    ],
)
def test_a_mutation_costs_what_its_items_cost(query, variables, cost):
    assert found("cost", query, variables) == cost


@pytest.mark.parametrize(
    "variables, values",
    [
        ({"a": None}, 1),
        ({"a": 1, "b": "x"}, 2),
        ({"a": [1, [2, 3], {}]}, 6),
        ({"a": {"b": {"c": []}}}, 3),
    ],
)
def test_the_values_in_variables_are_counted(variables, values):
    assert limits.check(parse("{a}"), variables=variables, limits=Limits(values=values)) == []
    (error,) = limits.check(parse("{a}"), variables=variables, limits=Limits(values=values - 1))
    assert error.message == f"The operation is too large: its values are {values}, the limit is {values - 1}."


def test_tokens_are_counted():
    assert found("tokens", "{ a(b: 1) } # and a comment") == 9


# --- what is allowed and what is not ---------------------------------------------------------------


@pytest.mark.parametrize(
    "measure, at_limit, beyond",
    [
        ("depth", "{a {b}}", "{a {b {c}}}"),
        ("fields", "{a {b}}", "{a {b c}}"),
        ("aliases", "{x: a y: a}", "{x: a y: a z: a}"),
        ("directives", "{a @x @x}", "{a @x @x @x}"),
        ("root_fields", "{a b}", "{a b c}"),
        ("cost", "{a {b}}", "{a {b c}}"),
    ],
)
def test_a_limit_is_the_last_that_is_allowed(measure, at_limit, beyond):
    two = dataclasses.replace(UNLIMITED, **{measure: 2})
    assert limits.check(parse(at_limit), limits=two) == []
    (error,) = limits.check(parse(beyond), limits=two)
    assert error.extensions == {"code": "QUERY_TOO_LARGE", "limit": 2, "measure": measure}
    assert error.message.startswith("The operation is too large: its ")
    assert error.message.endswith(" 3, the limit is 2.")
    assert error.locations


def test_every_limit_that_is_exceeded_is_named():
    none = Limits(**{field.name: 0 for field in dataclasses.fields(Limits)} | {"tokens": 99, "values": 0})
    errors = limits.check(parse("{x: a @x}"), limits=none)
    named = [error.extensions["measure"] for error in errors if error.extensions]
    assert named == ["depth", "fields", "aliases", "directives", "root_fields", "cost"]


def test_any_operation_of_a_document_may_be_the_one_that_is_too_large():
    two = dataclasses.replace(UNLIMITED, fields=2)
    small, large = "query small {a}", "query large {a b c}"
    assert limits.check(parse(small), limits=two) == []
    for query in (small + large, large + small):
        (error,) = limits.check(parse(query), limits=two)
        assert error.nodes is not None
        assert error.nodes[0].name.value == "large"  # type: ignore[attr-defined]


def test_a_fragment_that_nothing_spreads_is_bounded_too():
    """It never runs, but it is validated, and some rules compare each of its fields with each other."""
    two = dataclasses.replace(UNLIMITED, fields=2, root_fields=1)
    assert limits.check(parse("{a} fragment f on A {b c}"), limits=two) == []
    (error,) = limits.check(parse("{a} fragment f on A {b c d}"), limits=two)
    assert error.extensions is not None
    assert error.extensions["measure"] == "fields"


def test_a_fragment_of_a_name_that_is_taken_is_bounded_too():
    two = dataclasses.replace(UNLIMITED, fields=2)
    for query in (
        "{...f} fragment f on A {b} fragment f on A {b c d}",
        "{...f} fragment f on A {b c d} fragment f on A {b}",
    ):
        assert limits.check(parse(query), limits=two)


@pytest.mark.parametrize(
    "query",
    [
        "{...f} fragment f on Query {a ...f}",
        "{...f} fragment f on Query {a {...f}}",
        "{...f} fragment f on Query {a ...g} fragment g on Query {b ...f}",
        "{...nope}",
        "{a {...nope ...nope}}",
        "{...f} fragment f on Query {...nope}",
    ],
)
def test_fragments_in_circles_and_fragments_that_are_missing_are_left_to_validation(query):
    assert limits.check(parse(query)) == []
    assert schema.execute_sync(query, context_value=None).errors


# --- linear time -----------------------------------------------------------------------------------


def doubling(levels: int) -> str:
    return (
        "{ ...f0 }"
        + "".join(
            f"fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }}" for level in range(levels)
        )
        + f"fragment f{levels} on Query {{ viewer {{ username }} }}"
    )


@pytest.fixture
def visited(monkeypatch) -> list[object]:
    """The selection sets that are measured, one by one."""
    seen: list[object] = []
    selections = limits._Meter.selections

    def counted(meter: limits._Meter, selection_set: Any) -> limits._Measure:
        seen.append(selection_set)
        return selections(meter, selection_set)

    monkeypatch.setattr(limits._Meter, "selections", counted)
    return seen


@pytest.mark.parametrize("levels", [1, 10, 30, 200])
def test_a_fragment_is_measured_once_however_often_it_is_spread(visited, levels):
    document = parse(doubling(levels))
    errors = limits.check(document, limits=dataclasses.replace(LIMITS, tokens=10_000))
    # One for the operation, one for each fragment, and two below the field: its own and its field's none.
    assert len(visited) == 1 + (levels + 1) + 2
    if levels >= 30:
        assert {error.extensions["measure"] for error in errors if error.extensions} == {
            "fields",
            "root_fields",
            "cost",
        }
        assert "over 1,000,000,000" in errors[0].message


def test_doubling_fragments_are_refused_before_anything_follows_them(api):
    errors = refused(api, doubling(30))
    assert {error["extensions"]["code"] for error in errors} == {"QUERY_TOO_LARGE"}


# --- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_rate_limit(settings):
    settings.RATE_LIMIT_USER = settings.RATE_LIMIT_ADDRESS = 0


def ask(api: Api, query: str, variables: dict[str, Any] | None = None, name: str | None = None) -> Any:
    body = json.dumps({"query": query, "variables": variables, "operationName": name})
    return api.client.post(
        "/graphql", body, content_type="application/json", headers={"Accept": GRAPHQL_RESPONSE}
    )


def refused(
    api: Api, query: str, variables: dict[str, Any] | None = None, name: str | None = None
) -> list[dict[str, Any]]:
    """The errors of an operation of which nothing was run."""
    answer = ask(api, query, variables, name)
    assert answer.status_code == 400, answer.content[:500]
    body = answer.json()
    assert list(body) == ["errors"]
    assert "recursion" not in str(body)
    return body["errors"]


def answered(api: Api, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = ask(api, query, variables)
    assert answer.status_code == 200, answer.content[:500]
    body = answer.json()
    assert "errors" not in body
    return body["data"]


@pytest.mark.parametrize(
    "query",
    [
        get_introspection_query(),
        get_introspection_query(descriptions=False),
        get_introspection_query(  # as GraphiQL sends it
            descriptions=True,
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
        ),
    ],
    ids=["standard", "short", "everything"],
)
def test_tools_can_introspect(api, query):
    assert answered(api, query)["__schema"]["queryType"]["name"] == "Query"


def test_a_full_page_of_files_with_everything_that_they_have_is_allowed(api, alice):
    for number in range(3):
        record(alice, name=f"{number}.bin")
    rendition = "rendition(width: 300) { url width height contentType }"
    everything = FILE_FIELDS.replace("dominantColor", f"dominantColor {rendition}")
    query = f"""
        query ($first: Int) {{
            files(first: $first) {{
                totalCount pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
                edges {{ cursor node {{ {everything} }} }}
            }}
        }}
    """
    assert len(answered(api, query, {"first": 100})["files"]["edges"]) == 3


def test_a_hundred_files_are_deleted_at_once(api):
    query = "mutation ($ids: [ID!]!) { deleteFiles(ids: $ids) { __typename ... on DeletedFile { id } } }"
    assert len(answered(api, query, {"ids": [f"x{number}" for number in range(100)]})["deleteFiles"]) == 100


NESTED = 10_000
LONG = 100_000
WHOLE_PAGE = "a#: files(first: 100) { edges { node { id name size md5 } } }"


def many(text: str, count: int, between: str = " ") -> str:
    return between.join(text.replace("#", str(number)) for number in range(count))


EXPENSIVE = {
    "open braces": "{a" * NESTED,
    "braces": "{a" * NESTED + "}" * NESTED,
    "open inline fragments": "{ ... " * NESTED,
    "deep fields": '{ file(id: "x") { ' + "owner { " * 15 + "id" + " }" * 17,
    "a bomb of lists": "{ file(id: " + "[" * NESTED + "]" * NESTED + ") { id } }",
    "nested lists": "{ file(id: " + "[" * 150 + "]" * 150 + ") { id } }",
    "a bomb of objects": "{ file(id: " + "{a: " * NESTED + "1" + "}" * NESTED + ") { id } }",
    "nested objects": "{ file(id: " + "{a: " * 150 + "1" + "}" * 150 + ") { id } }",
    "a bomb of a type": "query ($a: " + "[" * NESTED + "Int" + "]" * NESTED + ") { __typename }",
    "a nested type": "query ($a: " + "[" * 150 + "Int" + "]" * 150 + ") { __typename }",
    "a long name": "{ " + "a" * LONG + " }",
    "a long string": '{ file(id: "' + "a" * LONG + '") { id } }',
    "a long block string": '{ file(id: """' + "a\n" * LONG + '""") { id } }',
    "a long number": "{ files(first: " + "9" * LONG + ") { __typename } }",
    "a number past what int reads": "{ files(first: " + "9" * 5_000 + ") { __typename } }",
    "a long fraction": "{ files(first: " + "9" * 50_000 + ".5) { __typename } }",
    "a long exponent": "{ files(first: 1e" + "9" * 5_000 + ") { __typename } }",
    "blanks": "{ __typename }" + " " * LONG,
    "commas": "{ __typename }" + "," * LONG,
    "a long comment": "{ __typename } #" + "#" * LONG,
    "comments": "{ __typename }" + "#\n" * 2_000,
    "byte order marks": "{ __typename }" + "\ufeff" * LONG,
    "lines": "\n" * 2_000 + "{ __typename }",
    "lines of another kind": "\r" * 2_000 + "{ __typename }",
    "tokens": "{ " + "__typename " * 2_000 + "}",
    "one field again and again": "{ " + "viewer { id } " * 21 + "}",
    "one field again and again below": "{ viewer { " + "id " * 500 + "} }",
    "directives": "{ __typename " + "@skip(if: false) " * 51 + "}",
    "unknown directives": "{ __typename " + "@nope " * 51 + "}",
    "directives on a variable": "query ($a: Int " + "@nope " * 900 + ") { __typename }",
    "aliases": "{ viewer {" + many("a#: id", 51) + "} }",
    "conflicts": "{ viewer {" + many("x: id x: username", 25) + "} }",
    "fields that are nearly there": "{ viewer {" + many("usernam#", 490) + "} }",
    "arguments that are nearly there": "{ file(" + many("ide#: 1", 490) + ") { id } }",
    "input that is nearly there": "{ files(filters: {" + many("sha#: 1", 400) + "}) { id } }",
    "types that are nearly there": "{ viewer { id " + many("... on Fil# { id }", 250) + "} }",
    "one argument again and again": "{ file(" + "id: 1 " * 490 + ") { id } }",
    "unused variables": "query (" + many("$v#: Int", 480) + ") { __typename }",
    "one variable again and again": "query (" + "$v: Int " * 480 + ") { __typename }",
    "variables of unknown types": "query (" + many("$v#: Nop#", 480) + ") { __typename }",
    "fragments that are not there": "{" + many("...f#", 900) + "}",
    "unused fragments": "{ __typename }" + many("fragment f# on User { id }", 200),
    "an unused fragment": "{ __typename } fragment f on User { " + "id " * 1_900 + "}",
    "an unused contradiction": "{ __typename } fragment f on User { " + "x: id x: username " * 300 + "}",
    "unused fragments of fragments": "{ __typename }"
    + "".join(f"fragment f{each} on User {{ ...f{each + 1} ...f{each + 2} }}" for each in range(150))
    + "fragment f150 on User { id } fragment f151 on User { id }",
    "a chain of fragments": "{ ...f0 }"
    + "".join(f"fragment f{each} on Query {{ ...f{each + 1} }}" for each in range(240))
    + "fragment f240 on Query { __typename }",
    "a chain of deep fragments": "{ ...f0 }"
    + "".join(
        f"fragment f{each} on Query {{ {'viewer { ' * 10}...f{each + 1}{' }' * 10} }}" for each in range(49)
    )
    + "fragment f49 on Query { __typename }",
    "introspection in circles": "{ __schema { types { "
    + "possibleTypes { interfaces { " * 3
    + "name"
    + " } }" * 3
    + " } } }",
    "introspection again": "{ __schema { " + many("a#: types { fields { name type { kind } } }", 50) + " } }",
    "introspection again below": "{ __schema { types { "
    + many("a#: fields { name type { kind } }", 50)
    + " } } }",
    "mutations": "mutation {" + many('a#: deleteFiles(ids: "x") { __typename }', 21) + "}",
    "deletions by default": "mutation ($ids: [ID!]! = ["
    + '"x" ' * 100
    + "]) {"
    + many("a#: deleteFiles(ids: $ids) { __typename }", 20)
    + "}",
    "pages": "{" + many(WHOLE_PAGE, 20) + "}",
    "addresses": "{ files(first: 100) { edges { node { " + many("a#: url { url }", 40) + "} } } }",
    "renditions": "{ files(first: 100) { edges { node { image { "
    + many("a#: rendition(width: #) { url }", 40)
    + "} } } } }",
    "sets of renditions": "query ($w: [Int!]! = ["
    + "1 " * 25
    + "]) { files(first: 100) { edges { node { image { srcset(widths: $w) { url } } } } } }",
    "pages beside less than none": "{ x: files(first: -99999) { edges { node { id } } }"
    + many(WHOLE_PAGE, 19)
    + "}",
}


@pytest.mark.parametrize("query", EXPENSIVE.values(), ids=EXPENSIVE)
def test_a_document_that_asks_for_too_much_is_refused(api, query):
    assert refused(api, query)


@pytest.mark.parametrize(
    "text, found",
    [
        ("a" * 100_000, None),
        ("a" * 100_001, "it has 100001 characters, the limit is 100000."),
        ("\n" * 1_999, None),
        ("\n" * 2_000, "it has 2001 lines, the limit is 2000."),
        ("\r" * 2_000, "it has 2001 lines, the limit is 2000."),
        ("\r\n" * 1_000, "it has 2001 lines, the limit is 2000."),
        ("", None),
    ],
    ids=["characters", "too many", "lines", "too many lines", "other lines", "mixed lines", "nothing"],
)
def test_a_document_is_bounded_before_it_is_parsed(text, found):
    """The place of an error is found by counting all lines before it, for each error anew."""
    problem = limits.problem_of_text(text)
    assert problem == (found and f"The document is too large: {found}")


def test_a_document_of_many_lines_is_refused_by_all_ways_in(api):
    query = "\n" * 3_000 + "{ __typename }"
    for answer in (ask(api, query), api.client.get("/graphql", {"query": query})):
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["extensions"]["code"] == "QUERY_TOO_LARGE"


def test_few_operations_of_many_are_blamed(api):
    query = "fragment f on Query { " + "__typename " * 400 + "} " + many("query q# { ...f }", 200)
    assert len(refused(api, query, name="q1")) == 1


FILTERED = "query ($f: FileFilter) { files(filters: $f) { __typename } }"
UPDATE = "mutation ($i: UpdateFileInput!) { updateFile(input: $i) { __typename } }"


def nested(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


FILE = "query ($id: ID!) { file(id: $id) { id } }"
FIRST = "query ($n: Int) { files(first: $n) { __typename } }"
UPLOAD = "mutation ($f: Upload!) { uploadFile(input: {file: $f}) { __typename } }"
DELETE = "mutation ($ids: [ID!]!) { deleteFiles(ids: $ids) { __typename } }"
EXPENSIVE_VARIABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "a list that nothing uses": ("{ viewer { id } }", {"a": [0] * 20_000}),
    "variables": ("{ viewer { id } }", {f"v{each}": 0 for each in range(20_000)}),
    "kinds": (FILTERED, {"f": {"kind": ["IMAGE"] * 20_000}}),
    "kinds that are none": (FILTERED, {"f": {"kind": ["IMAGX"] * 20_000}}),
    "tags": (FILTERED, {"f": {"tags": {"any": [""] * 20_000}}}),
    "unknown fields": (FILTERED, {"f": {f"tag{each}": 0 for each in range(20_000)}}),
    "a deep list": (FILTERED, {"f": nested(900)}),
    "the tags of a file": (UPDATE, {"i": {"id": "x", "tags": [""] * 20_000}}),
    "metadata": (UPDATE, {"i": {"id": "x", "metadata": {"a": [0] * 20_000}}}),
    "ids": (DELETE, {"ids": ["x"] * 9_000}),
    "a list for an id": (FILE, {"id": [0] * 9_000}),
    "a deep list for an id": (FILE, {"id": nested(900)}),
    "a large number": (FIRST, {"n": 2**60}),
    "a large fraction": (FIRST, {"n": 1e300}),
    "an object for a number": (FIRST, {"n": {"a": 1}}),
    "a deep list for a file": (UPLOAD, {"f": nested(900)}),
}


@pytest.mark.parametrize("query, variables", EXPENSIVE_VARIABLES.values(), ids=EXPENSIVE_VARIABLES)
def test_variables_that_ask_for_too_much_are_refused(api, query, variables):
    assert refused(api, query, variables)


def test_a_number_that_python_would_not_read_is_refused(api):
    body = json.dumps({"query": FIRST, "variables": {"n": 0}}).replace("0}", "9" * 5_000 + "}")
    answer = api.client.post("/graphql", body, "application/json", headers={"Accept": GRAPHQL_RESPONSE})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "query, variables",
    [
        (FILE, {"id": "a" * 500_000}),
        ("query ($c: String) { files(after: $c) { __typename } }", {"c": "a" * 500_000}),
        (FILTERED, {"f": {"sha256": "a" * 500_000}}),
        (FILTERED, {"f": {"nameContains": "%" * 500_000}}),
        (UPDATE, {"i": {"id": "x", "metadata": {"a": nested(900)}}}),
        (UPDATE, {"i": {"id": "x", "title": "a" * 500_000}}),
        ("{ viewer { id } }", {"a": nested(900)}),
    ],
)
def test_large_values_are_no_error_of_ours(api, query, variables):
    answer = ask(api, query, variables)
    assert answer.status_code == 200
    assert "INTERNAL_SERVER_ERROR" not in answer.content.decode()


# --- batches ---------------------------------------------------------------------------------------


@pytest.fixture
def batching(monkeypatch, settings) -> None:
    settings.MAX_BATCH = 5
    monkeypatch.setattr(schema.config, "batching_config", {"max_operations": 5})


def ask_all(api: Api, *queries: str) -> list[dict[str, Any]]:
    body = json.dumps([{"query": query} for query in queries])
    answer = api.client.post("/graphql", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.usefixtures("batching")
def test_the_operations_of_a_batch_share_the_cost_of_one(api):
    query = "{ files(first: 100) { edges { cursor node { " + many("a#: id", 40) + " } } } }"  # 4,201
    answers = ask_all(api, query, query, query, "{ viewer { username } }")
    assert ["data" in answer for answer in answers] == [True, True, False, True]
    (error,) = answers[2]["errors"]
    assert error["extensions"] == {"code": "QUERY_TOO_LARGE", "limit": LIMITS.cost, "measure": "cost"}
    assert error["message"].startswith("The batch is too large")


@pytest.mark.usefixtures("batching")
def test_the_operations_of_a_batch_share_the_tokens_of_one(api):
    query = "{ viewer { " + "... on User { id } " * 80 + "} }"
    answers = ask_all(api, *[query] * 5)
    assert ["data" in answer for answer in answers] == [True, True, True, True, False]
    assert answers[4]["errors"][0]["extensions"]["measure"] == "tokens"


@pytest.mark.usefixtures("batching")
def test_the_next_request_begins_anew(api):
    query = "{ files(first: 100) { edges { cursor node { " + many("a#: id", 40) + " } } } }"
    for _ in range(3):
        assert all("data" in answer for answer in ask_all(api, query, query))


def test_what_was_spent_is_the_most_that_any_operation_of_a_document_costs():
    spent = Spent()
    assert limits.check(parse("query a {a b} query b {a {b {c}}}"), spent=spent) == []
    assert (spent.cost, spent.tokens) == (3, 17)
    assert limits.check(parse("{a}"), spent=spent) == []
    assert (spent.cost, spent.tokens) == (4, 20)


# --- what is known of a document -------------------------------------------------------------------

SIZED = """query($n: Int, $ids: [ID!]!, $in: UploadFilesInput!, $of: Int = 7) {
    files(first: $n) { edges { node { id } } }
    others: files(last: $of) { edges { node { id } } }
    deleteFiles(ids: $ids) { __typename }
    uploadFiles(input: $in) { __typename }
}"""


def cost(known: limits.Known | None, variables: dict[str, Any], limit: Limits = UNLIMITED) -> int | str:
    """What the document comes to, or how it is refused."""
    spent = Spent()
    errors = limits.check(parse(SIZED), variables=variables, limits=limit, spent=spent, known=known)
    return errors[0].message if errors else spent.cost


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "n": st.one_of(st.none(), st.integers(-5, 200), st.text(max_size=2), st.just(3.0)),
                "of": st.one_of(st.none(), st.integers(0, 120)),
                "ids": st.one_of(st.none(), st.lists(st.just("x"), max_size=12), st.just("x")),
                "in": st.one_of(st.none(), st.fixed_dictionaries({"files": st.lists(st.none(), max_size=9)})),
                "unused": st.integers(),
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_document_that_is_known_costs_what_it_costs_unknown(calls: list[dict[str, Any]]):
    known = limits.Known()
    for variables in calls:
        assert cost(known, variables) == cost(None, variables)


def test_what_is_known_is_within_the_limits_and_no_more_than_is_of_use():
    known, strict = limits.Known(), dataclasses.replace(UNLIMITED, cost=400)
    for _ in range(2):
        assert "cost" in str(cost(known, {"n": 90}, strict))
        assert known.costs == {}
    for length in range(200):
        cost(known, {"ids": ["x"] * length})
        assert len(known.costs) <= 64


def test_a_known_document_spends_what_is_left_of_a_request():
    known, spent = limits.Known(), Spent()
    limit = dataclasses.replace(UNLIMITED, cost=2)
    document = parse("{a}")
    for _ in range(2):
        assert limits.check(document, limits=limit, spent=spent, known=known) == []
    (error,) = limits.check(document, limits=limit, spent=spent, known=known)
    assert error.extensions == {"code": "QUERY_TOO_LARGE", "limit": 2, "measure": "cost"}
