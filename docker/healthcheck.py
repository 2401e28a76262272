"""Whether the service of this container answers; for HEALTHCHECK, which knows nothing but an exit code.

Asks itself and no proxy. The service answers this under any host name and without TLS.
"""

import http.client
import os
import sys

PATH = "/health/live"
_TIMEOUT = 4  # seconds; less than the engine waits


def problem(port: int) -> str | None:
    """What is wrong with the service on that port, if anything is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except OSError as error:
        return f"The service does not answer: {error}."
    finally:
        connection.close()
    return None if status == http.client.OK else f"{PATH} answers {status}."


if __name__ == "__main__":
    sys.exit(problem(int(os.environ.get("PORT", "8000"))))
