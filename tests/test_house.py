"""What must not drift: the contract with clients, the errors, the schema file, migrations and versions."""

import base64
import dataclasses
import json
import re
from collections.abc import Mapping
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import call_command
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    print_ast,
)
from graphql.pyutils import snake_to_camel
from packaging.version import Version

from files import errors as domain
from files.errors import FileError
from graph import errors as face
from graph.schema import schema

ROOT = Path(settings.BASE_DIR)

CONTRACT = """
scalar BigInt
scalar DateTime
scalar JSON
scalar Upload

interface Node { id: ID! }
interface Error { message: String! }

type Query {
  node(id: ID!): Node
  viewer: User
  file(id: ID!): File
  files(
    filters: FileFilter, order: FileOrder, first: Int, after: String, last: Int, before: String
  ): FileConnection!
  uploadProfiles: [UploadProfile!]!
  storageUsage: StorageUsage!
}

type Mutation {
  uploadFile(input: UploadFileInput!): UploadFileResult!
  uploadFiles(input: UploadFilesInput!): [UploadFileResult!]!
  updateFile(input: UpdateFileInput!): UpdateFileResult!
  deleteFiles(ids: [ID!]!): [DeleteFileResult!]!
}

input UploadFileInput {
  file: Upload!
  profile: String = "default"
  name: String
  title: String
  description: String
  tags: [String!]
  metadata: JSON
  visibility: Visibility
}

input UploadFilesInput {
  files: [Upload!]!
  profile: String = "default"
  title: String
  description: String
  tags: [String!]
  metadata: JSON
  visibility: Visibility
}

type File implements Node {
  id: ID!
  name: String!
  title: String
  description: String
  tags: [String!]!
  metadata: JSON!
  profile: String!
  kind: FileKind!
  contentType: String!
  size: BigInt!
  md5: String!
  sha256: String!
  visibility: Visibility!
  owner: User
  storage: StoredObject!
  url(expiresIn: Int, download: Boolean = false): SignedUrl!
  image: Image
  createdAt: DateTime!
  updatedAt: DateTime!
}

type Image {
  width: Int!
  height: Int!
  format: String!
  frames: Int!
  thumbhash: String!
  dominantColor: String!
}

enum FileKind { IMAGE VIDEO AUDIO DOCUMENT ARCHIVE OTHER }
enum Visibility { PRIVATE PUBLIC }

type FileConnection { totalCount: Int! edges: [FileEdge!]! pageInfo: PageInfo! }
type FileEdge { cursor: String! node: File! }
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
type SignedUrl { url: String! }
type StorageUsage { files: Int! size: BigInt! quota: BigInt }
type StoredObject { backend: String bucket: String objectKey: String }
type UploadProfile { name: String! }
type User implements Node { id: ID! }

# What the contract leaves open is here in name only.
input FileFilter { nameContains: String }
input FileOrder { field: FileOrderField! }
enum FileOrderField { NAME SIZE CREATED_AT UPDATED_AT }
input UpdateFileInput { id: ID! }
union UploadFileResult = File
union UpdateFileResult = File
union DeleteFileResult = File
"""

UNIONS = {
    "UploadFileResult": {
        "File",
        "FileTooLarge",
        "EmptyFile",
        "UnsupportedType",
        "InvalidImage",
        "ImageTooLarge",
        "QuotaExceeded",
        "UnknownProfile",
        "InvalidInput",
        "StorageUnavailable",
    },
    "UpdateFileResult": {"File", "FileNotFound", "InvalidInput", "StorageUnavailable"},
    "DeleteFileResult": {"DeletedFile", "FileNotFound", "StorageUnavailable"},
}


@pytest.fixture(scope="module")
def published() -> GraphQLSchema:
    """The schema as clients have it: from the file."""
    return build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"))


def leaves_of(base: type[FileError]) -> set[type[FileError]]:
    below = base.__subclasses__()
    return {leaf for each in below for leaf in leaves_of(each)} if below else {base}


LEAVES = sorted(leaves_of(FileError), key=lambda leaf: leaf.__name__)


# --- errors ----------------------------------------------------------------------------------------

# The type in Python, what it may be in GraphQL, and a value.
FIELD_TYPES: list[tuple[Any, set[str], object]] = [
    (int, {"Int!", "BigInt!"}, 3),
    (str, {"String!"}, "a"),
    (str | None, {"String"}, None),
    (list[str], {"[String!]!"}, ["a"]),
    (bool, {"Boolean!"}, True),
    (str | UUID, {"ID!"}, UUID(int=7)),
]


def fields_of(leaf: type[FileError]) -> dict[str, Any]:
    """The type of each field, by its name."""
    hints = get_type_hints(leaf)
    return {field.name: hints[field.name] for field in dataclasses.fields(leaf)}  # type: ignore[arg-type]


def graphql_types_of(hint: Any) -> set[str]:
    return next(names for known, names, _ in FIELD_TYPES if known == hint)


def value_of(hint: Any) -> object:
    return next(value for known, _, value in FIELD_TYPES if known == hint)


def test_every_error_of_a_file_is_among_the_leaves_and_has_its_type() -> None:
    assert len(LEAVES) >= 10
    assert set(domain.LEAVES) == set(LEAVES)
    assert set(face.TYPES) == set(LEAVES)
    assert {leaf.__name__: each.__name__ for leaf, each in face.TYPES.items()} == {
        leaf.__name__: leaf.__name__ for leaf in LEAVES
    }


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_an_error_has_the_same_fields_in_graphql(leaf: type[FileError], published: GraphQLSchema) -> None:
    found = published.type_map[leaf.__name__]
    assert isinstance(found, GraphQLObjectType)
    assert [each.name for each in found.interfaces] == ["Error"]
    types = {name: str(field.type) for name, field in found.fields.items()}
    assert types.pop("message") == "String!"
    expected = {snake_to_camel(name, upper=False): hint for name, hint in fields_of(leaf).items()}
    assert set(types) == set(expected)
    for name, hint in expected.items():
        assert types[name] in graphql_types_of(hint), name


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_an_error_is_presented_with_its_sentence_and_its_figures(leaf: type[FileError]) -> None:
    values = {name: value_of(hint) for name, hint in fields_of(leaf).items()}
    error = leaf(**values)
    shown = face.present(error)
    assert type(shown) is face.TYPES[leaf]
    assert shown.message == str(error)
    assert re.fullmatch(r"[^{}]+\.", shown.message)
    if "id" in values:  # clients know a file by its global id
        values["id"] = base64.b64encode(f"File:{values['id']}".encode()).decode()
    assert {name: getattr(shown, name) for name in values} == values


# --- the schema ------------------------------------------------------------------------------------


def test_the_schema_file_is_what_the_code_says() -> None:
    exported = schema.as_str().rstrip("\n") + "\n"
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == exported, "run `make schema`"


@pytest.mark.parametrize("name", UNIONS)
def test_a_result_is_one_of_the_types_of_the_contract(name: str, published: GraphQLSchema) -> None:
    union = published.type_map[name]
    assert isinstance(union, GraphQLUnionType)
    assert {member.name for member in union.types} == UNIONS[name]


type Shape = dict[str, tuple[str, dict[str, str]]]


def shape(named: object) -> Shape:
    """Each field with its type and its arguments; inputs have defaults too."""
    if isinstance(named, GraphQLInputObjectType):
        return {name: (input_of(field), {}) for name, field in named.fields.items()}
    if isinstance(named, GraphQLEnumType):
        return {name: ("value", {}) for name in named.values}
    assert isinstance(named, GraphQLObjectType | GraphQLInterfaceType)
    return {
        name: (str(field.type), {argument: input_of(each) for argument, each in field.args.items()})
        for name, field in named.fields.items()
    }


def input_of(given: GraphQLArgument | GraphQLInputField) -> str:
    """The type and the default, as they are written in a schema."""
    assert given.ast_node is not None
    default = given.ast_node.default_value
    return f"{given.type} = {print_ast(default)}" if default else str(given.type)


def contract_fields() -> list[tuple[str, str]]:
    kinds = GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType | GraphQLEnumType
    types = build_schema(CONTRACT).type_map.items()
    ours = [(name, each) for name, each in types if isinstance(each, kinds) and not name.startswith("__")]
    return [(name, field) for name, each in ours for field in shape(each)]


@pytest.mark.parametrize("type_name, field", contract_fields())
def test_a_field_is_as_the_contract_has_it(type_name: str, field: str, published: GraphQLSchema) -> None:
    promised = shape(build_schema(CONTRACT).type_map[type_name])
    kept = shape(published.type_map[type_name])
    assert kept.get(field) == promised[field]


@pytest.mark.parametrize("type_name", ["FileKind", "Visibility", "UploadFileInput", "UploadFilesInput"])
def test_a_closed_type_has_nothing_more(type_name: str, published: GraphQLSchema) -> None:
    promised = shape(build_schema(CONTRACT).type_map[type_name])
    assert set(shape(published.type_map[type_name])) == set(promised)


@pytest.mark.parametrize("type_name, interface", [("File", "Node"), ("User", "Node")])
def test_a_type_is_a_node(type_name: str, interface: str, published: GraphQLSchema) -> None:
    found = published.type_map[type_name]
    assert isinstance(found, GraphQLObjectType)
    assert interface in {each.name for each in found.interfaces}


# --- rows ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_migration_is_missing(capsys) -> None:
    try:
        call_command("makemigrations", "--check", "--dry-run")
    except SystemExit:
        pytest.fail(f"The models have changed: {capsys.readouterr().out}")


# --- packages --------------------------------------------------------------------------------------

# Versions before these have holes that no scanner finds here.
FLOORS = {"django": "6.1.3", "pillow": "13.0", "strawberry-graphql": "0.341"}

PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[A-Za-z0-9.]+)(?P<marker> ; [^\\]+?)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
COMMENT = re.compile(
    r"# This file was autogenerated by uv via the following command:|#    make lock|    # via .+"
)
# Any name of a machine on the internet, in comments too.
HOST = re.compile(r"://|\b[\w-]+\.(org|com|net|io|dev|internal|local|cloud)\b", re.IGNORECASE)


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def pins_of(name: str) -> Mapping[str, tuple[str, str | None]]:
    found = [match for line in lines_of(name) if (match := PIN.fullmatch(line))]
    return {match["name"]: (match["version"], match["marker"]) for match in found}


@pytest.mark.parametrize("package", FLOORS)
def test_no_installed_package_is_older_than_its_floor(package: str) -> None:
    assert Version(metadata.version(package)) >= Version(FLOORS[package])


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-bench.txt"])
@pytest.mark.parametrize("package", FLOORS)
def test_no_pinned_package_is_older_than_its_floor(package: str, name: str) -> None:
    version, _ = pins_of(name)[package]
    assert Version(version) >= Version(FLOORS[package])


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-bench.txt"])
def test_tests_and_benchmarks_run_with_what_the_service_runs_with(name: str) -> None:
    service, pinned = pins_of("requirements.txt"), pins_of(name)
    assert len(service) > 20
    versions = {package: pinned[package][0] for package in service if package in pinned}
    assert versions == {package: version for package, (version, _) in service.items()}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-bench.txt"])
def test_pinned_packages_are_hashed_and_name_no_place_to_load_them_from(name: str) -> None:
    lines = lines_of(name)
    known = (PIN, HASH, COMMENT)
    assert [line for line in lines if not any(each.fullmatch(line) for each in known)] == []
    assert [line for line in lines if HOST.search(line)] == []
    bare = [line for line, after in pairwise(lines) if PIN.fullmatch(line) and not HASH.fullmatch(after)]
    assert bare == []


@pytest.mark.parametrize("folder", ["tests/clients", "bench"])
def test_the_lock_of_the_node_packages_has_hashes_and_names_no_host(folder: str) -> None:
    lock = json.loads((ROOT / folder / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    assert [name for name, each in packages.items() if "resolved" in each] == []
    assert [name for name, each in packages.items() if "integrity" not in each] == []


# --- documents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "SECURITY.md"])
def test_a_test_that_a_document_names_is_there(name: str) -> None:
    missing, named = [], 0
    for line in lines_of(name):
        code = ""
        for quoted in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"((e2e|long)/)?test_\w+\.py", quoted):
                file = ROOT / "tests" / quoted
                code = file.read_text() if file.exists() else ""
                missing += [] if code else [quoted]
            elif re.fullmatch(r"test_\w+", quoted):
                named += 1
                missing += [] if f"def {quoted}(" in code else [quoted]
    assert named > 20
    assert missing == []
