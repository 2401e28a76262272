"""The cookie of messages under a name that only this host, and only over TLS, can set."""

from django.contrib.messages.storage.cookie import CookieStorage


class HostCookieStorage(CookieStorage):
    cookie_name = "__Host-messages"
