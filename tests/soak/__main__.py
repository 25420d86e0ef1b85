"""``make soak``: SOAK_SECONDS of faults (600) by SOAK_SEED on SOAK_BROKER (redis, rabbitmq), with SOAK_CLIENTS (12)."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from soak.clients import BACKS, SEEN_SECONDS, Client, Seen
from soak.ending import Ending
from soak.faults import Breaking, plan
from soak.ledger import Ledger
from soak.report import Report
from soak.site import Site, Watching


def main() -> int:
    given = {"SECONDS": "600", "SEED": f"{random.randrange(10**6)}", "BROKER": "redis", "CLIENTS": "12"}
    given = {name: os.environ.get(f"SOAK_{name}") or value for name, value in given.items()}
    for name in [name for name in os.environ if name.startswith(("AWS_", "LAZYCROP_"))]:
        del os.environ[name]
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1"}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # All servers end with this.
    folder = Path(tempfile.mkdtemp(prefix="lazycrop-soak-"))
    _say(" ".join(f"SOAK_{name}={value}" for name, value in given.items()) + f"; the logs are in {folder}")
    is_well = soak(folder, int(given["SEED"]), float(given["SECONDS"]), given["BROKER"], int(given["CLIENTS"]))
    return 0 if is_well else 1


def soak(folder: Path, seed: int, seconds: float, broker: str, clients: int) -> bool:
    """Whether all was well; prints the report. What is before and after the faults takes a minute or two more."""
    with ExitStack() as stack:
        site = Site(folder, broker, int(256 + seconds), stack)
        faults = plan(seed, seconds)
        breaking, seen = Breaking(faults, site.breaks), Seen()
        ledger = Ledger(lambda moment: breaking.calm_since(moment, (*BACKS, "web 1", "web 2"), SEEN_SECONDS))
        last = Client(site, breaking, ledger, seen, f"{seed} last")
        last.fill()
        watching = stack.enter_context(Watching(site, breaking.windows))
        _say(f"{len(faults)} faults begin")
        with breaking:
            _run([Client(site, breaking, ledger, seen, f"{seed} {number}") for number in range(clients)], seconds)
        _say("they are over; what is there now is gone through")
        ending, is_whole = Ending(site, ledger, last, watching.canary), False
        try:
            ending.go()
            is_whole = True
        finally:  # Whoever interrupts it sees what is known.
            report = Report(seed, seconds, broker)
            is_well = report.fill(site, faults, breaking.windows, seen, ending.found, watching) and is_whole
            print("\n".join(report.lines), flush=True)
    return is_well


def _run(clients: list[Client], seconds: float) -> None:
    ended, failures = threading.Event(), list[BaseException]()

    def run(client: Client) -> None:
        try:
            client.run(ended)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    ended.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _say(text: str) -> None:
    print(f"{time.strftime('%X')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
