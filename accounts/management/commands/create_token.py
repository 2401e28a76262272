"""Print one new API token for a user, who is made if need be."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts import tokens
from accounts.models import Scope, User


class Command(BaseCommand):
    help = (
        "Print one new API token for USERNAME. The user is made if there is none (without a password, so "
        "able to use tokens only). Only the token goes to standard output; it is not stored and cannot be "
        "shown again."
    )
    requires_system_checks = ()  # some ask the database, and say less clearly that it is not there

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", metavar="USERNAME")
        parser.add_argument(
            "--name",
            default="command line",
            help="what the token is for, shown in the admin (default: %(default)s)",
        )
        parser.add_argument(
            "--scopes",
            default="read,write",
            help="what it may do: read, write or read,write (default: %(default)s)",
        )
        parser.add_argument(
            "--days", type=int, metavar="N", help="the token expires N days from now (default: never)"
        )

    def handle(self, *, username: str, name: str, scopes: str, days: int | None, **_: Any) -> None:
        try:
            chosen = [Scope(each.strip()) for each in scopes.split(",")]
        except ValueError:
            raise CommandError(f"--scopes {scopes}: use read, write or read,write.") from None
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError(f"--days {days}: use a number of days from 1 to 36500.")
        if not 1 <= len(name) <= 100:
            raise CommandError("--name: use 1 to 100 characters.")
        expires_at = timezone.now() + timedelta(days=days) if days is not None else None
        try:
            with transaction.atomic():
                user = self._user(username)
                secret = tokens.issue(user=user, name=name, scopes=chosen, expires_at=expires_at)[1]
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used: {error}. `make run` or `manage.py migrate` makes its tables."
            ) from None
        self.stdout.write(secret)

    def _user(self, username: str) -> User:
        user = User.objects.filter(username=username).first()
        if user is None:
            user = User(username=username)
            user.set_unusable_password()
            try:
                user.full_clean(exclude=["password"])
            except ValidationError as error:
                raise CommandError(f"USERNAME {username!r}: {' '.join(error.messages)}") from None
            user.save()
            self.stderr.write(f"Made the user {username}.")
        if not user.is_active:
            raise CommandError(f"The user {username} is locked out (not active); a token would open nothing.")
        return user
