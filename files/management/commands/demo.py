"""Fill the database with files to look at: drawn and written here, and received as any upload is."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from accounts.models import User
from files import services
from files.demo.shelf import FILES, TAG, DemoFile
from files.errors import FileError
from files.models import File, Visibility
from files.receive import Received


class Command(BaseCommand):
    help = (
        f"Upload {len(FILES)} files to look at: pictures, some of them moving, documents, a sound. They are "
        f'drawn and written here, private or public, and have the tag "{TAG}". Those that are there already '
        "are left alone. The service may run meanwhile."
    )
    requires_system_checks = ()  # some ask the database, and say less clearly that it is not there

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--user", metavar="USERNAME", help="whose files they are (default: the first user's)"
        )

    def handle(self, *, user: str | None, **_: Any) -> None:
        try:
            owner = _owner(user)
            there = set(File.objects.filter(owner=owner, tags__has_any=[TAG]).values_list("name", flat=True))
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used: {error}. `make run` or `manage.py migrate` makes its tables."
            ) from None
        missing = [each for each in FILES if each.name not in there]
        if not missing:
            self.stdout.write(f"All {len(FILES)} files of the demo are there; {owner.username} owns them.")
            return
        failed = 0
        for number, each in enumerate(missing, start=1):
            try:
                file = _upload(each, owner)
                said = f"{file.content_type}, {file.size:,} bytes"
            except FileError as error:
                failed += 1
                said = str(error)
            self.stdout.write(f"[{number:2}/{len(missing)}] {each.name}: {said}")
            self.stdout.flush()
        if failed:
            raise CommandError(f"{failed} of {len(missing)} files could not be kept.")
        self.stdout.write(f"{owner.username} owns them. The library shows them, and so does the tag {TAG}.")


def _owner(username: str | None) -> User:
    users = User.objects.order_by("pk")
    owner = users.filter(username=username).first() if username is not None else users.first()
    if owner is None and username is None:
        raise CommandError(
            "There is no user yet: `make run` makes the first one, or name one to create_token."
        )
    if owner is None:
        raise CommandError(f"There is no user {username}.")
    return owner


def _upload(each: DemoFile, owner: User) -> File:
    received = Received.of_bytes(each.make(), name=each.name)
    try:
        return services.upload(
            owner=owner,
            received=received,
            profile=each.profile,
            description={
                "title": each.title,
                "description": each.description,
                "tags": [TAG, *each.tags],
                "visibility": Visibility.PUBLIC if each.is_public else Visibility.PRIVATE,
            },
        )
    finally:
        received.close()
