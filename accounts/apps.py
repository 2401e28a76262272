from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import sign_in as sign_in  # noqa: PLC0414  listens to Django's signal
