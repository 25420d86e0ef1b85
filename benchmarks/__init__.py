"""Measurements of lazycrop and of its peers, side by side: ``python -m benchmarks.run``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".bench"
"""Peers, sources and stores; deleted by ``make clean``, ignored by git."""

# The real servers that the tests run are measured too.
sys.path.insert(0, str(ROOT / "tests"))
