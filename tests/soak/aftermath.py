"""What is looked at when the load is over: first as clients see it, then as an operator who mends, then
behind the service. No fault and no kill any more."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from strawberry import relay

from tests.soak import verdict
from tests.soak.clients import CLIENTS, Client, NoAnswer
from tests.soak.ledger import Kept, Ledger
from tests.soak.memory import Watch, growths
from tests.soak.stack import Stack
from tests.soak.verdict import Check, nothing_wrong

# A worker that was killed with its supervisor is missed after 60 s, and what somebody was making when he was
# killed can be claimed by another one after as long. Until then nothing is expected, and nothing hastened.
_MISSED_AFTER = 70.0  # seconds
_DRAINS_WITHIN = 180.0
_OPEN = "SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status IN ('READY', 'RUNNING')"
_FAILED = "SELECT task_path, args_kwargs FROM django_tasks_database_dbtaskresult WHERE status = 'FAILED'"
# Tasks that have failed wait up to a quarter of an hour for their next attempt. What they wait for is over.
_HASTEN = "UPDATE django_tasks_database_dbtaskresult SET run_after = now() WHERE status = 'READY'"


def judge(stack: Stack, ledger: Ledger, watch: Watch, say: Callable[[str], None]) -> list[Check]:
    """`say` is told what is looked at."""
    say("The load is over; waiting for the queue.")
    checks = [_queue(stack)]
    answers = len(ledger.wrong)
    say(f"Reading {len(ledger.certain())} files again.")
    unread = _read_all(stack, ledger)
    watch.look(stack.workers())
    read = nothing_wrong(
        "every acknowledged file is read with its hash, and no deleted one",
        unread + ledger.wrong[answers:],
        f"{len(ledger.certain())} read, {len(ledger.deleted)} gone",
    )
    told = nothing_wrong("every answer was a right one, or one to try again", ledger.wrong[:answers])
    checks = [told, read, *checks]
    say("Stopping; then reconcile and verify.")
    codes = stack.stop()
    checks.append(
        nothing_wrong(
            "services and worker end by SIGTERM", [f"{name}: {code}" for name, code in codes.items() if code]
        )
    )
    checks += _mended(stack)
    rows = stack.ask("SELECT id, sha256, key FROM files_file")
    renditions = {key for (key,) in stack.ask("SELECT key FROM files_rendition")}
    keys = {key for _, _, key in rows} | renditions
    checks += verdict.rows_as_told(ledger, {relay.to_base64("File", id_): sha256 for id_, sha256, _ in rows})
    checks += verdict.objects_as_rows(stack.objects(), keys, stack.unfinished())
    recorded = {
        action: [id_ for (id_,) in stack.ask(f"SELECT file_id FROM audit_entry WHERE action = '{action}'")]
        for action in ("upload", "delete")
    }
    checks.append(verdict.audited(recorded["upload"], recorded["delete"], {id_ for id_, _, _ in rows}))
    checks.append(verdict.memory(growths(watch.samples)))
    logs = "\n".join(log.read_text(errors="replace") for log in stack.logs())
    checks.append(nothing_wrong("no traceback but of what the store did", verdict.tracebacks(logs)))
    return checks


def _queue(stack: Stack) -> Check:
    began = time.monotonic()
    left, hastened = _open(stack), False
    while left and time.monotonic() < began + _DRAINS_WITHIN:
        stack.keep_running()
        if not hastened and time.monotonic() > began + _MISSED_AFTER:
            stack.tell(_HASTEN)
            hastened = True
        time.sleep(1)
        left = _open(stack)
    wrong = [f"given up: {path} {given}" for path, given in stack.ask(_FAILED)]
    if left:
        wrong.append(f"{left} tasks are left after {_DRAINS_WITHIN:.0f} s")
    took = f"{time.monotonic() - began:.0f} s"
    return nothing_wrong("the queue drains, and no task was given up", wrong, took)


def _open(stack: Stack) -> int:
    ((count,),) = stack.ask(_OPEN)
    return int(count)


def _read_all(stack: Stack, ledger: Ledger) -> list[str]:
    """What cannot be read, or can and should not; all else that does not hold is in the ledger."""
    reader = Client(CLIENTS, 0, stack.urls, stack.token, ledger)
    files = [*ledger.certain(), *ledger.deleted.values()]

    def read(file: Kept) -> str | None:
        try:
            if file.id not in ledger.deleted:
                reader.read(file)
                if file.is_image:
                    reader.read_thumbnail(file)
            elif reader.is_there(file):
                return f"{file.id} was acknowledged as deleted and is there"
        except (NoAnswer, AssertionError, OSError) as error:
            return f"{file.id} cannot be read: {error!r}"
        return None

    with ThreadPoolExecutor(CLIENTS) as several:
        unread = {
            file.id: wrong for file, wrong in zip(files, several.map(read, files), strict=True) if wrong
        }
        if unread:
            time.sleep(_MISSED_AFTER)
            again = [file for file in files if file.id in unread]
            unread = {
                file.id: wrong for file, wrong in zip(again, several.map(read, again), strict=True) if wrong
            }
    reader.close()
    return list(unread.values())


def _mended(stack: Stack) -> list[Check]:
    """As the operator of a service that does not run: twice, because the second finds nothing."""
    first = stack.manage("reconcile", "--apply", "--grace", "0s")
    found = json.loads(first.stdout)["found"] if first.stdout else {}
    figure = ", ".join(f"{count} {kind}" for kind, count in found.items()) or "nothing was left"
    wrong = [] if first.returncode == 0 else [f"exit code {first.returncode}: {first.stderr[-500:]}"]
    checks = [nothing_wrong("reconcile mends all that it finds", wrong, figure)]
    again = stack.manage("reconcile", "--grace", "0s")
    wrong = [] if again.returncode == 0 and '"found": {}' in again.stdout else [again.stdout[-500:]]
    checks.append(nothing_wrong("and then finds nothing", wrong))
    verified = stack.manage("verify")
    wrong = [] if verified.returncode == 0 else [verified.stdout[-500:]]
    return [*checks, nothing_wrong("verify reads all bytes and finds nothing", wrong)]
