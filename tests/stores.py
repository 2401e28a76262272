"""What the tests of the commands that walk through storages share: objects of any age, and a run of one."""

import io
import json
import os
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.core.management import CommandError, call_command

from files import storage

LONG_AGO = timedelta(days=40)


@dataclass(frozen=True)
class Ran:
    """What a command wrote and how it ended."""

    code: int
    report: dict[str, Any]
    errors: str

    @property
    def kinds(self) -> list[str]:
        return sorted(finding["kind"] for finding in self.report["findings"])

    @property
    def names(self) -> list[str]:
        return sorted(finding["name"] for finding in self.report["findings"])


def run(command: str, *arguments: str) -> Ran:
    """One of the commands, in this process."""
    output, errors = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(command, *arguments, stdout=output, stderr=errors)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except CommandError as error:
        code = error.returncode
        errors.write(str(error))
    return Ran(code, json.loads(output.getvalue() or "{}"), errors.getvalue())


def id_at(moment: datetime) -> UUID:
    """A UUID of version 7 as it would have been made then."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(
        int=milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    )


def key(age: timedelta = LONG_AGO, *, profile: str = "default", extension: str = ".bin") -> str:
    """A key as it would have been made so long ago."""
    moment = datetime.now(UTC) - age
    return storage.key_of(file_id=id_at(moment), profile=profile, extension=extension, now=moment)


def put(name: str, content: bytes = b"bytes", *, alias: str = "default", age: timedelta = LONG_AGO) -> str:
    """An object without row, dated back where that is possible; its key."""
    kept = storages[alias]
    kept.save(name, ContentFile(content))
    if isinstance(kept, FileSystemStorage):
        then = (datetime.now(UTC) - age).timestamp()
        os.utime(kept.path(name), (then, then))
    return name


def names(alias: str = "default") -> list[str]:
    """The keys of all objects."""
    return [found.key for found in storage.objects(alias=alias, prefix="")]


def disk(location: Path) -> dict[str, Any]:
    return {"BACKEND": "files.disk.DiskStorage", "OPTIONS": {"location": location}}


def bucket(url: str) -> dict[str, Any]:
    """A storage in a bucket of its own, which has still to be made."""
    return {
        "BACKEND": "files.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": f"coffer-{uuid.uuid4()}",
            "access_key": "test",
            "secret_key": "test",
            "region_name": "us-east-1",
            "endpoint_url": url,
            "file_overwrite": True,
            "default_acl": None,
        },
    }
