"""The GraphQL multipart request specification: operations + map + files -> variables; pure.

Strict where the specification leaves room to guess: every path leads from `variables` to a null that is
there, so that a file never takes the place of something a client sent.
"""

from collections.abc import Mapping
from typing import Any

MAX_PATHS = 200  # places for files in one request; more than that is no form

type Operations = dict[str, Any] | list[Any]


class MultipartError(Exception):
    """The request does not follow the specification; the message says where."""


def place[File](operations: object, file_map: object, files: Mapping[str, File]) -> Operations:
    """`operations` with each file of `files` at the places that `file_map` names for it.

    The nulls are replaced in place. Raises MultipartError, then `operations` may be half changed.
    """
    if not isinstance(operations, dict | list):
        raise MultipartError("operations: has to be a JSON object, or a list of them.")
    if not isinstance(file_map, dict) or not file_map:
        raise MultipartError("map: has to be a JSON object that names a place for each file.")
    count = 0
    for name, paths in file_map.items():
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise MultipartError(f'map.{name}: has to be a list of paths such as "variables.input.file".')
        count += len(paths)
        if count > MAX_PATHS:
            raise MultipartError(f"map: names more than {MAX_PATHS} places.")
        if name not in files:
            raise MultipartError(f"map.{name}: there is no such file in the request.")
        for path in paths:
            _put(operations, path, files[name])
    return operations


def _put(operations: Operations, path: str, file: object) -> None:
    *parents, last = path.split(".")
    variables_at = 1 if isinstance(operations, list) else 0
    if len(parents) <= variables_at or parents[variables_at] != "variables":
        raise MultipartError(f"map: the path {path!r} does not lead into variables.")
    target: Any = operations
    for step in parents:
        target = _step(target, step, path)
    if _step(target, last, path) is not None:
        raise MultipartError(f"map: at {path!r} there has to be null, to be replaced by the file.")
    target[_key(target, last)] = file


def _step(target: object, step: str, path: str) -> Any:
    if isinstance(target, dict) and step in target:
        return target[step]
    if isinstance(target, list) and _is_index(step) and int(step) < len(target):
        return target[int(step)]
    raise MultipartError(f"map: the path {path!r} leads to nothing at {step!r}.")


def _key(target: object, step: str) -> str | int:
    return int(step) if isinstance(target, list) else step


def _is_index(step: str) -> bool:
    """Digits as a person writes a number: `int` would take "+1", " 1" and digits of other scripts too."""
    return step.isascii() and step.isdecimal() and len(step) <= 4 and (step == "0" or step[0] != "0")
