"""Spans: one around each request and each job, and one around each of their stages. [opentelemetry]

Where they go is the application's to say, or that of ``opentelemetry-instrument``; without either they cost little and
go nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, SpanKind

from lazycrop import __version__
from lazycrop.concurrency.timing import Note

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HEADERS = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE", "baggage": "HTTP_BAGGAGE"}


class Traces:
    """As :class:`~lazycrop.concurrency.timing.Tracing` says. The provider may be set after it was made."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("lazycrop", __version__)

    @contextmanager
    def span(self, name: str) -> Iterator[Note]:
        kind = SpanKind.CONSUMER if name.startswith("job ") else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(f"lazycrop {name}", kind=kind) as span:
            yield _noting(span)

    def carry(self) -> dict[str, str]:
        carried: dict[str, str] = {}
        propagate.inject(carried)
        return carried

    @contextmanager
    def resume(self, carried: Mapping[str, str]) -> Iterator[None]:
        """What came with a message may be anything: the propagators take what they know."""
        texts = {str(name): value for name, value in carried.items() if isinstance(value, str)}
        token = context.attach(propagate.extract(texts))
        try:
            yield
        finally:
            context.detach(token)


def _noting(span: Span) -> Callable[[Mapping[str, Any]], None]:
    def note(attributes: Mapping[str, Any]) -> None:
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        if attributes.get("http.response.status_code", 0) >= 500:
            span.set_status(trace.StatusCode.ERROR)

    return note


def continued(app: WSGIApplication) -> WSGIApplication:
    """``app``, whose spans go on where the client's are, for a server that no instrumentation knows."""
    traces = Traces()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        sent = {name: environ[header] for name, header in _HEADERS.items() if header in environ}
        with traces.resume(sent):
            return app(environ, start_response)

    return application
