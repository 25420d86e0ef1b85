"""Measurements of lazycrop and of its peers, side by side: ``python -m benchmarks.run``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".bench"
"""Peers, sources and stores; deleted by ``make clean``, ignored by git."""

# The real servers that the tests run are measured too.
sys.path.insert(0, str(ROOT / "tests"))

from servers import Server  # noqa: E402

# Linux gives each session an equal share of the CPUs (sched_autogroup), and nice counts inside of one only: a control
# in a session of its own noticed nothing of two full cores, and two servers of a peer had twice the share of one.
Server.own_session = False
