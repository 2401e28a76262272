"""How the database means to answer, where tables are too small for it to care."""

from django.db import connection


def assert_served_by(sql: str, index: str) -> None:
    """An index answers the query. On SQLite that one, and in the order that is wanted; PostgreSQL, which sees
    how few rows a test has, is told to read none without an index if it can."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        else:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(str(row) for row in cursor.fetchall())
    if connection.vendor == "sqlite":
        assert f"INDEX {index}" in plan
        assert "TEMP B-TREE" not in plan
    else:
        assert "Index" in plan
        assert "Seq Scan" not in plan
