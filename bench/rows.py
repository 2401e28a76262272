"""What rows of files, renditions and the audit log take, with their indices: python -m bench.rows ROWS

It fills the empty database that the environment names, with names, tags and owners as people have them.
"""

import hashlib
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID

import django

if TYPE_CHECKING:
    from accounts.models import User
    from audit.models import Entry
    from files.models import File, Rendition

_START = datetime(2026, 1, 1, tzinfo=UTC)
_EVERY = timedelta(seconds=3)  # one file
_USERS = 1000
_IMAGES = 0.6  # of all files; each has one rendition
_BATCH = 2000  # rows
_TABLES = ("files_file", "files_rendition", "audit_entry")


def fill(rows: int) -> None:
    from accounts.models import User
    from audit.models import Entry
    from files.models import File, Rendition

    chance = random.Random(1)
    words = [_word(chance) for _ in range(3000)]
    owners = User.objects.bulk_create(User(username=f"user-{number}") for number in range(_USERS))
    for numbers in batched(range(rows), _BATCH):
        files = [_file(number, chance, words, chance.choice(owners)) for number in numbers]
        File.objects.bulk_create(files)
        Rendition.objects.bulk_create(_rendition(file, chance) for file in files if file.image_format)
        Entry.objects.bulk_create(_entry(file) for file in files)


def _word(chance: random.Random) -> str:
    pairs = (chance.choice("bdfgklmnprst") + chance.choice("aeiou") for _ in range(chance.randint(2, 4)))
    return "".join(pairs)


def _file(number: int, chance: random.Random, words: list[str], owner: "User") -> "File":
    from files.models import File

    at = _START + number * _EVERY
    id_ = UUID(int=int(at.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | chance.getrandbits(62))
    is_image = chance.random() < _IMAGES
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    profile, ending = ("image", "jpg") if is_image else ("default", "pdf")
    image: dict[str, Any] = {
        "image_format": "JPEG",
        "width": 4000,
        "height": 3000,
        "frames": 1,
        "thumbhash": "1QcSHQRnh493V4dIh4eXh1h4kJUI",
        "dominant_color": "#c08040",
        "camera": "Maker Camera 5",
    }
    return File(
        id=id_,
        owner=owner,
        name=f"{' '.join(chance.choices(words, k=3))}.{ending}",
        title=" ".join(chance.choices(words, k=3)) if chance.random() < 0.3 else None,
        tags=chance.sample(words, 2) if chance.random() < 0.5 else [],
        metadata={"album": chance.choice(words)} if chance.random() < 0.3 else {},
        profile=profile,
        kind="image" if is_image else "document",
        content_type="image/jpeg" if is_image else "application/pdf",
        size=chance.randrange(10_000, 10_000_000),
        md5=sha256[:32],
        sha256=sha256,
        visibility="public" if chance.random() < 0.2 else "private",
        storage="default",
        key=f"{profile}/{at:%Y/%m/%d}/{id_}.{ending}",
        created_at=at,
        updated_at=at,
        **(image if is_image else {}),
    )


def _rendition(file: "File", chance: random.Random) -> "Rendition":
    from files.models import Rendition

    variation = "w320-h320-cover-webp"
    folder = file.key.rpartition(".")[0]
    return Rendition(
        file=file,
        variation=variation,
        storage="default",
        key=f"{folder}.renditions/{variation}-{chance.getrandbits(32):08x}.webp",
        content_type="image/webp",
        size=12_000,
        claimed_at=file.created_at,
        made_at=file.created_at,
    )


def _entry(file: "File") -> "Entry":
    from audit.models import Action, Entry, Via

    assert file.owner is not None
    return Entry(
        at=file.created_at,
        action=Action.UPLOAD,
        user_id=file.owner.pk,
        username=file.owner.username,
        via=Via.TOKEN,
        token_id=1,
        address="192.0.2.44",
        owner=file.owner.username,
        file_id=file.pk,
        name=file.name,
        size=file.size,
        md5=file.md5,
        sha256=file.sha256,
        profile=file.profile,
        details={"visibility": file.visibility},
    )


# --- what they take --------------------------------------------------------------------------------


def sizes() -> Iterator[tuple[str, int, int, int]]:
    """Of each table its rows, and the bytes of it and of its indices."""
    from django.db import connection

    measure = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}[connection.vendor]
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(measure.format(table=table))
            rows, own, indices = cursor.fetchone()
            yield table, rows, own, indices


_POSTGRESQL = "SELECT (SELECT count(*) FROM {table}), pg_table_size('{table}'), pg_indexes_size('{table}')"
_SQLITE = (
    "SELECT (SELECT count(*) FROM {table}), sum(pgsize) FILTER (WHERE type = 'table'), "
    "sum(pgsize) FILTER (WHERE type = 'index') "
    "FROM dbstat JOIN sqlite_master ON sqlite_master.name = dbstat.name WHERE tbl_name = '{table}'"
)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    fill(int(sys.argv[1]))
    for table, rows, own, indices in sizes():
        print(f"{table}: {rows} rows, {own / rows:.0f} B each, and {indices / rows:.0f} B of indices")
