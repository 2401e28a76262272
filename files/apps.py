from django.apps import AppConfig
from django.core.signals import request_started


class FilesConfig(AppConfig):
    name = "files"

    def ready(self) -> None:
        from files import checks as checks  # noqa: PLC0414  registers them
        from files import storage

        request_started.connect(storage.begin_request)
