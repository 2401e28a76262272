"""How often a background task is tried, how long, and after what: the same for each engine; pure."""

# Seconds to wait after the first, second, ... attempt. The second one outlives a claim to a rendition whose
# owner died (60 s), all together an outage of twenty minutes.
BACKOFF = (10, 60, 300, 900)
MAX_ATTEMPTS = len(BACKOFF) + 1
# Seconds: more than any task needs. Images are bounded by their sandbox; this is for the move of the largest
# file between two slow storages.
LONGEST = 3600
# Days for which what has become of tasks can be looked up: of those that failed, and of all others.
FAILED_KEPT = 14
DONE_KEPT = 1


def delay_after(attempts: int) -> int | None:
    """Seconds until the next attempt after so many; None if there is none."""
    return BACKOFF[attempts - 1] if attempts < MAX_ATTEMPTS else None
