"""Sign-ins that fail, on whatever page, go to the audit log. Passwords are never looked at."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver

from accounts.models import User
from audit import log
from audit.models import Action


@receiver(user_login_failed)
def record(credentials: Mapping[str, Any], **_: Any) -> None:
    """With the name only of a user that there is: people type their password into the wrong field."""
    name = str(credentials.get(User.USERNAME_FIELD) or "")
    log.write_alone(log.entry(Action.SIGN_IN_FAILURE, by=User.objects.filter(username=name).first()))
