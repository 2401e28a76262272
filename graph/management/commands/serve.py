"""Serve in production: what `run` does for a developer is asked of the operator here, and never done."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from graph import server


class Command(BaseCommand):
    help = (
        "Serve on HOST and PORT with WORKERS processes of THREADS threads, until SIGTERM; requests under way "
        "may then take GRACE seconds more. Needs SECRET_KEY and HTTPS from the environment or .env, and a "
        "database that `migrate` has brought up to date. Says at the start what `check --deploy` warns of."
    )
    requires_system_checks = ()  # made below, with those that concern a deployment

    def handle(self, **_: Any) -> None:
        env = settings.ENV
        _check_settings(env)
        self.check(include_deployment_checks=True)
        server.prepare(env.host, env.port)
        _check_migrations()
        server.serve(
            host=env.host,
            port=env.port,
            workers=env.workers,
            threads=env.threads,
            grace=env.grace,
            when_ready=lambda: self._announce(env),
        )

    def _announce(self, env: Any) -> None:
        address = server.address(env.host, env.port)
        self.stdout.write(f"Coffer serves at {address}, in {env.workers} processes of {env.threads} threads.")
        self.stdout.flush()


def _check_settings(env: Any) -> None:
    """Raises CommandError, with a line for each variable that has to be set and is not."""
    problems = []
    if env.debug:
        problems.append("DEBUG: has to be off.")
    if not env.has_own_secret_key:
        problems.append("SECRET_KEY: has to be set, to 50 characters or more, made at random.")
    if env.https is None:
        problems.append("HTTPS: say True, if clients reach the service by https, or False.")
    if env.https and not env.trusted_proxies:
        problems.append("TRUSTED_PROXIES: has to name the proxy that ends TLS, with HTTPS=True.")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise CommandError(f"Coffer cannot serve: these settings are missing or wrong.\n{lines}")


def _check_migrations() -> None:
    """Raises CommandError for a database that was not brought up to date."""
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database cannot be used: {error}") from None
    if plan:
        raise CommandError(
            f"The database is not up to date, by {len(plan)} migrations: run `manage.py migrate` first."
        )
