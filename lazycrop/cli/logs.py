"""Logs: what went wrong, for whoever looks at a terminal."""

from __future__ import annotations

import logging
import traceback
from typing import Any


class OneLine(logging.Formatter):
    """The reason of a failure in one line, without a traceback."""

    def formatException(self, info: Any) -> str:
        return "".join(traceback.format_exception_only(info[1])).strip()
