"""Who did what, when and from where. Rows are added by `audit.log`, never changed, and removed by age alone.

No row points at another table: what is deleted there stays here, as the text that it was.
"""

from typing import Any, NoReturn

from django.db import models
from django.utils import timezone

ADDRESS_MAX_LENGTH = 45  # characters; the longest spelling of an IPv6 address


class AppendOnly(TypeError):
    """Somebody tried to change or to delete what was recorded: a mistake in the code."""


class Action(models.TextChoices):
    UPLOAD = "upload", "upload"
    REFUSAL = "refusal", "refused upload"
    UPDATE = "update", "update"
    DELETE = "delete", "delete"
    TOKEN_ISSUE = "token-issue", "token issued"
    TOKEN_CHANGE = "token-change", "token changed"
    TOKEN_REVOKE = "token-revoke", "token revoked"
    SIGN_IN_FAILURE = "sign-in-failure", "failed sign-in"
    PRUNE = "prune", "old entries removed"


class Via(models.TextChoices):
    """By which way somebody came."""

    TOKEN = "token", "API token"
    BROWSER = "browser", "a page, signed in or about to"
    ADMIN = "admin", "the admin"
    SYSTEM = "system", "a command or background work"


class EntryQuerySet(models.QuerySet["Entry"]):
    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly("Entries of the audit log are never changed.")

    def delete(self) -> NoReturn:
        raise AppendOnly("Entries of the audit log go by age alone: `manage.py audit prune`.")

    def prune(self) -> int:
        """Remove these for good, as `audit.retention` alone may; how many that were."""
        return super().delete()[0]


class Entry(models.Model):
    """One thing that was done, or refused. Sizes are in bytes; what is not known is empty."""

    at = models.DateTimeField(default=timezone.now)
    action = models.CharField(max_length=16, choices=Action.choices)
    code = models.CharField(
        max_length=32, blank=True, help_text="The type of the error, of what was refused."
    )
    # Who acted; of a failed sign-in, as whom somebody tried to come in. Without a user: the service itself.
    user_id = models.BigIntegerField(null=True, blank=True)
    username = models.CharField("user", max_length=150, blank=True)
    via = models.CharField(max_length=8, choices=Via.choices)
    token_id = models.BigIntegerField("API token", null=True, blank=True)
    address = models.CharField(max_length=ADDRESS_MAX_LENGTH, blank=True)
    owner = models.CharField(max_length=150, blank=True, help_text="Whose file or token it is.")
    as_staff = models.BooleanField(default=False, help_text="What was done to is somebody else's.")
    file_id = models.UUIDField("file", null=True, blank=True)
    name = models.CharField(max_length=255, blank=True)
    size = models.BigIntegerField("bytes", null=True, blank=True)
    md5 = models.CharField("MD5", max_length=32, blank=True)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)
    profile = models.CharField(max_length=32, blank=True)
    details = models.JSONField(default=dict, blank=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "entries"
        ordering = ("-at", "-id")
        # What the admin and the export filter by, each in the order of time. Every upload pays for each.
        indexes = (
            models.Index(fields=("at", "id"), name="audit_at"),
            models.Index(fields=("action", "at", "id"), name="audit_action"),
            models.Index(fields=("username", "at", "id"), name="audit_username"),
            models.Index(
                fields=("file_id", "at", "id"), name="audit_file", condition=models.Q(file_id__isnull=False)
            ),
            models.Index(fields=("at", "id"), name="audit_as_staff", condition=models.Q(as_staff=True)),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("Entries of the audit log are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("Entries of the audit log go by age alone: `manage.py audit prune`.")
