"""Access: the one place where it is decided whether something may be asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lazycrop.access.policy import Policy
from lazycrop.access.signing import Signer
from lazycrop.errors import ConfigurationError, Forbidden, LazyCropError, NotAllowed
from lazycrop.model.derivatives import Derivative
from lazycrop.model.urls import Asked


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be asked for. ``signed``: because its URL is signed."""

    signed: bool


@dataclass(frozen=True, slots=True)
class Snapped:
    """It may not; but ``derivative``, which is the nearest to it, may."""

    derivative: Derivative


class Access:
    """What policy lists anybody may ask for; what else, only with a signature."""

    def __init__(self, policy: Policy, secret: tuple[str, ...]) -> None:
        self._policy = policy
        self._signer = Signer(secret) if secret else None

    @property
    def closed(self) -> bool:
        """Nothing may be asked for at all."""
        return self._policy.closed and self._signer is None

    def decide(self, asked: Asked) -> Allowed | Snapped:
        """May this be asked for? Raises :class:`~lazycrop.errors.Forbidden`, :class:`~lazycrop.errors.NotAllowed`."""
        derivative = asked.derivative
        self._policy.check(derivative)
        if self._signer and self._signer.verify(asked):
            return Allowed(signed=True)
        if self._policy.lists(derivative):
            return Allowed(signed=False)
        if (nearest := self._nearest(derivative)) is not None:
            return Snapped(nearest)
        raise self._refusal(derivative)

    def ticket(self, derivative: Derivative, expires: int | None = None) -> str:
        """The query string with which this may be asked for, until ``expires`` (Unix time) when given; mostly empty.

        Raises :class:`~lazycrop.errors.NotAllowed`, and ConfigurationError where nothing can expire.
        """
        self._policy.check(derivative)
        if expires is not None and self._signer is None:
            raise ConfigurationError("A URL that expires has to be signed: set 'secret'.")
        if self._signer and (expires is not None or not self._policy.lists(derivative)):
            return self._signer.sign(derivative, expires)
        if not self._policy.lists(derivative) and self._nearest(derivative) is None:
            raise self._refusal(derivative)
        return ""

    def _nearest(self, derivative: Derivative) -> Derivative | None:
        size = self._policy.snapped(derivative.size) if derivative.size else None
        return replace(derivative, size=size) if size else None

    def _refusal(self, derivative: Derivative) -> LazyCropError:
        if self._signer:
            return Forbidden("This URL needs a signature; take the URL as the application gives it.")
        size = str(derivative.size or "origin")
        return NotAllowed(
            f"The size {size!r} may not be asked for; the application names what may in 'sizes' and 'presets'."
        )
