"""Logs: lines for machines, one JSON object each."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """``time`` (UTC), ``level``, ``logger``, ``message``; ``error`` and ``trace`` where there was one; and whatever a
    record was given as ``extra``: ``event`` of all that lazycrop says, and the fields that docs/metrics.rst lists.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= {"error": repr(record.exc_info[1]), "trace": self.formatException(record.exc_info)}
        return json.dumps(line, default=repr)


class Stderr(logging.StreamHandler[Any]):
    """Writes to what is sys.stderr at that moment: the processes of a worker get others."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, stream: Any) -> None:
        pass


def write_json(level: int | str = logging.NOTSET) -> None:
    """Have this process's log written as :class:`JsonLines`, and nothing else, to stderr."""
    handler = Stderr()
    handler.setFormatter(JsonLines())
    handler.addFilter(_tells_more)
    logging.basicConfig(handlers=[handler], force=True)
    if level:
        logging.getLogger().setLevel(level)


def _tells_more(record: logging.LogRecord) -> bool:
    """urllib3 has a warning for each answer whose headers are cut; of that fault there is a line already."""
    return not (record.name == "urllib3.connection" and "parse headers" in str(record.msg))
