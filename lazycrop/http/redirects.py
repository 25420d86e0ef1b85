"""Redirects: to the store's URL of what is stored, where the client may have that."""

from __future__ import annotations

import time
from dataclasses import replace

from lazycrop.http import answers
from lazycrop.http.answers import Answer, AnswerSettings, Freshness, Outcome
from lazycrop.http.requests import Request
from lazycrop.stores.guarded import Guarded

_PRESIGNED_SECONDS = 300


def redirected(
    store: Guarded, settings: AnswerSettings, request: Request, freshness: Freshness, outcome: Outcome
) -> Answer | None:
    """A redirect to the store's URL of the outcome's object; None where it is to be streamed."""
    assert outcome.key is not None
    if not request.redirect:
        return None
    if freshness.private or freshness.expires is not None:
        return _presigned(store, outcome.key, freshness, outcome) if settings.private_answer == "presign" else None
    location = store.url(outcome.key) if settings.answer == "redirect" else None
    return answers.redirect(location, settings.redirect_status, freshness, outcome) if location else None


def _presigned(store: Guarded, key: str, freshness: Freshness, outcome: Outcome) -> Answer | None:
    """To a URL that ends when this one does, or soon; the redirect is kept for half of that."""
    now = int(time.time())
    expires = min(now + _PRESIGNED_SECONDS, freshness.expires or now + _PRESIGNED_SECONDS)
    location = store.presigned_url(key, max(1, expires - now))
    if location is None:
        return None
    freshness = replace(freshness, private=True, expires=now + (expires - now) // 2)
    return answers.redirect(location, 302, freshness, replace(outcome, shared=False))
