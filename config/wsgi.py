"""The WSGI application, for gunicorn, uWSGI and their kind."""

import os

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

from config.memory import keep_buffers
from config.requests import AnyContentType

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class _Request(AnyContentType, WSGIRequest):
    pass


class _Handler(WSGIHandler):
    request_class = _Request


keep_buffers()
django.setup(set_prefix=False)
application = _Handler()
