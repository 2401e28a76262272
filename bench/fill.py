"""Fill the database that the environment names with files, all in one statement: python -m bench.fill ROWS

Nothing is kept for them in the storage. It is a process of its own because its settings are the server's.
"""

import os
import sys
from datetime import UTC, datetime

import django

START = datetime(2020, 1, 1, tzinfo=UTC)  # row number i, from 1 on, is i seconds younger
_MOMENT = f"{START.timestamp():.0f} + i"

# What differs from row to row, by number `i`; every other column is that of the first row, which is made by
# the model: so a column that a later migration adds has what the model gives it.
_SQLITE = {
    "id": "printf('%032x', i)",
    "name": "'holiday ' || i || '.png'",
    "title": "'Day ' || i",
    "size": "i * 7",
    "md5": "printf('%032x', i)",
    "sha256": "printf('%064x', i)",
    "key": "'default/2026/01/31/' || printf('%032x', i) || '.png'",
    "created_at": f"strftime('%Y-%m-%d %H:%M:%S', {_MOMENT}, 'unixepoch')",
}
_POSTGRESQL = {
    "id": "lpad(to_hex(i), 32, '0')::uuid",
    "name": "'holiday ' || i || '.png'",
    "title": "'Day ' || i",
    "size": "i::bigint * 7",
    "md5": "lpad(to_hex(i), 32, '0')",
    "sha256": "lpad(to_hex(i), 64, '0')",
    "key": "'default/2026/01/31/' || lpad(to_hex(i), 32, '0') || '.png'",
    "created_at": f"to_timestamp({_MOMENT})",
}
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {})",
    "postgresql": "WITH numbers AS (SELECT generate_series(1, {}) AS i)",
}
# As a server that has run for a while has it.
_SETTLE = {"sqlite": "PRAGMA wal_checkpoint(TRUNCATE)", "postgresql": "VACUUM ANALYZE files_file"}


def fill(rows: int) -> None:
    from django.db import connection

    from accounts.models import User
    from files.models import File

    owner, _ = User.objects.get_or_create(username="alice")
    first = File.objects.create(
        owner=owner,
        name="first.png",
        tags=["sea", "sun"],
        metadata={"number": 1},
        profile="default",
        kind="image",
        content_type="image/png",
        size=0,
        md5="",
        sha256="",
        storage="default",
        key="first",
        created_at=START,
    )
    differing = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}[connection.vendor]
    columns = [field.column for field in File._meta.concrete_fields if field.column]
    selected = ", ".join(differing.get(column, f"first.{column}") for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_NUMBERS[connection.vendor].format(rows)} INSERT INTO files_file ({', '.join(columns)}) "
            f"SELECT {selected} FROM files_file AS first, numbers WHERE first.key = 'first'"
        )
        first.delete()
        cursor.execute(_SETTLE[connection.vendor])


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    fill(int(sys.argv[1]))
