"""uvicorn as a worker of gunicorn, which ends what does not end by itself: gunicorn would have it killed."""

from typing import Any

from uvicorn_worker import UvicornWorker

_CLEANUP = 5  # seconds of gunicorn's patience that are kept for removing what was cut off


class Worker(UvicornWorker):  # type: ignore[misc]
    CONFIG_KWARGS: dict[str, Any] = {
        **UvicornWorker.CONFIG_KWARGS,
        "lifespan": "on",  # by which config.asgi hears of the end
        "proxy_headers": False,  # graph.proxies decides what is believed
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = max(1, self.cfg.graceful_timeout - _CLEANUP)
