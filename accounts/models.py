"""Who uses the service: users, and the API tokens by which their programs speak for them."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone


class User(AbstractUser):
    """A person or a program that owns files."""

    quota = models.BigIntegerField(
        "quota in bytes",
        null=True,
        blank=True,
        help_text="How many bytes this user's files may take in all. Empty: the deployment's USER_QUOTA.",
    )
    must_change_password = models.BooleanField(
        default=False, help_text="The library first asks for a password of the user's own."
    )

    class Meta(AbstractUser.Meta):
        pass

    def set_password(self, raw_password: str | None) -> None:
        """Whoever sets one, by whatever page or command: it is not the one that was to be changed."""
        super().set_password(raw_password)
        self.must_change_password = False


class Scope(models.TextChoices):
    """What a token may be used for; a token has one or more."""

    READ = "read", "read: query files"
    WRITE = "write", "write: upload, change and delete files"


class ApiToken(models.Model):
    """A secret that a client sends as `Authorization: Bearer ...`. Only its SHA-256 is kept.

    The secret is 256 random bits, so a plain hash cannot be turned back by guessing; `hint` is its first
    letters, by which a person tells tokens apart.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, help_text="What the token is for, for example its program.")
    hint = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API token"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @property
    def is_usable(self) -> bool:
        """Neither revoked nor expired, and its user not locked out."""
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.revoked_at is None and not expired and self.user.is_active
