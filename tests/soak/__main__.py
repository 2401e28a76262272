"""Uploads, reads, changes and deletions by several clients at once on all that the service consists of in
production: PostgreSQL, OpenStack Swift's S3 API, two services of two processes each, and a worker over the
queue in the database. Every 10 seconds one process is killed, and one in twenty connections to the store
fails: refused, cut, slow, or done with its answer lost. Afterwards it is looked at whether everything that a
client was told holds, and whether `reconcile` leaves nothing that belongs nowhere.

    make soak                                    5 minutes
    make soak ARGS="--minutes 1 --seed 7"        what clients do, which process is killed and which connection
                                                 fails follow from the seed; when they meet does not

Exit code: 0 if everything holds; 1 if something does not, and the folder with logs and reports is kept.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

_SHORTEST = 0.75  # minutes


def main() -> int:
    given = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C does: what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="coffer-soak-"))
    is_evidence = True
    try:
        holds = _soak(folder, given.seed, given.minutes * 60)
        is_evidence = not holds
    except KeyboardInterrupt:
        holds = is_evidence = False
    finally:
        if is_evidence:
            print(f"\nWhat was found is in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    return 0 if holds else 1


def _soak(folder: Path, seed: int, seconds: float) -> bool:
    """Whether everything held. Says it, too."""
    # What the tests share imports models; nothing here asks a database by them.
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "WARNING"}
    import django

    django.setup()
    from tests.soak import run, stack

    with stack.running(folder) as started:
        soak = run.Soak(started, seed, seconds)
        checks = soak.run()
        run.report(soak, checks)
    return all(check.holds for check in checks)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5, help="of load (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    given = parser.parse_args()
    if given.minutes < _SHORTEST:
        parser.error(f"--minutes: at least {_SHORTEST}, or no process lives long enough to judge its memory")
    return given


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
