"""What both kinds of request have to bear with."""

from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpRequest


class AnyContentType(HttpRequest):
    """A Content-Type that cannot be read is none. Django raises, where nothing makes an answer of it."""

    def _set_content_type_params(self, meta: Any) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except BadRequest:
            self.content_type, self.content_params = "", {}
