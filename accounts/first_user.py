"""The first user of an empty database, so that a newcomer can sign in. Their password is returned once, for a
person to read, and never written anywhere but as a hash."""

import secrets

from django.db import IntegrityError, transaction

from accounts.models import User

USERNAME = "admin"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another when it is copied by hand
_LENGTH = 20  # letters; 99 bits


def make() -> str | None:
    """The password of the superuser that was made; None if there is any user already."""
    if User.objects.exists():
        return None
    password = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    try:
        with transaction.atomic():
            User.objects.create_superuser(USERNAME, password=password, must_change_password=True)
    except IntegrityError:
        return None  # another process, started at the same time, was faster and says the password
    return password
