"""Access: the one place where it is decided whether something may be asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lazycrop.access.policy import Policy, PolicySettings
from lazycrop.access.signing import Signer
from lazycrop.errors import BadRequest, ConfigurationError, Forbidden, LazyCropError, NotAllowed
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
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

    def __init__(self, policy: Policy, settings: PolicySettings) -> None:
        self._policy = policy
        self._private = settings.private
        self._signer = Signer(settings.secret) if settings.secret else None
        if settings.private:
            self.is_private(True)

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

    def admit(self, record: Record, decision: Allowed) -> None:
        """May it be asked for of this image, too? Raises :class:`~lazycrop.errors.Forbidden`."""
        if record.private and not decision.signed:
            raise Forbidden("This image is private; take its URL as the application gives it.")

    def is_private(self, wanted: bool | None) -> bool:
        """Is an image to be private that is stored so? None is as the settings say. Raises ConfigurationError."""
        private = self._private if wanted is None else wanted
        if private not in (True, False):
            raise BadRequest(f"'private' is {private!r}; it is True, False, or None for what the settings say.")
        if private and self._signer is None:
            raise ConfigurationError("Private images are asked for by signed URLs only: set 'secret'.")
        return bool(private)

    def ticket(self, derivative: Derivative, expires: int | None = None, private: bool = False) -> str:
        """The query string with which this may be asked for; mostly empty.

        ``expires``: until when (Unix time). ``private``: the image is. Raises :class:`~lazycrop.errors.NotAllowed`, and
        ConfigurationError where nothing can expire.
        """
        self._policy.check(derivative)
        if expires is not None and self._signer is None:
            raise ConfigurationError("A URL that expires has to be signed: set 'secret'.")
        if self._signer and (expires is not None or private or not self._policy.lists(derivative)):
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
