"""Policy: which sizes and formats may be asked for, and the one place where it is decided whether something may be.

Closed unless something is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lazycrop.access.signing import Signer
from lazycrop.errors import BadRequest, BadSize, ConfigurationError, Forbidden, LazyCropError, NotAllowed
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES, Derivative
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size
from lazycrop.model.urls import Asked
from lazycrop.options import option, split

ANY = "any"

_QUALITY = re.compile(r"(?P<size>\S*) +quality=(?P<quality>\S*)")

CLOSED = """Nothing may be asked for yet: name what may. There are three ways:
    LazyCrop(sizes=["200x100", "800x"], presets={"card": "400x300-cover"})    these and no others
    LazyCrop(secret="a long random text")    whatever images.url() has signed
    LazyCrop(sizes="any")    everything up to max_edge; anybody can then fill the store with sizes"""

_PRESET = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)


def _spelled(size: Any) -> Any:
    """A Size, or a pair of width and height, as its text."""
    is_pair = isinstance(size, list | tuple) and len(size) == 2
    return str(Size(*size) if is_pair else size) if is_pair or isinstance(size, Size) else size


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _with_quality(text: str) -> list[str]:
    """The items of a list, in which ``quality=70`` belongs to the item before it."""
    items: list[str] = []
    for item in split(text):
        if items and item.startswith("quality="):
            items[-1] += f" {item}"
        else:
            items.append(item)
    return items


def _named(text: str) -> dict[str, str]:
    """The same as a mapping of name=value pairs."""
    pairs = [item.partition("=") for item in _with_quality(text)]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("a list of name=size pairs, each with or without a quality=")
    return {name.strip(): size.strip() for name, _, size in pairs}


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    sizes: tuple[str, ...] = option(
        (),
        "The sizes that may be asked for, or the one word `any`. A size may have a quality of its own, as "
        "`1600x quality=60`: that of a JPEG, from which each format takes the one that looks alike.",
        given="Sequence[Asks]",
        spell=_spelled,
        read=_with_quality,
    )
    presets: Mapping[str, str] = option(
        {},
        "Names for sizes that may be asked for: `card=400x300-cover` or `card=400x300-cover quality=70`.",
        given="Mapping[str, Asks]",
        spell=_spelled,
        read=_named,
    )
    formats: tuple[str, ...] = option(tuple(CONTENT_TYPES), "The formats that may be asked for.")
    max_edge: int = option(4096, "The longest side of any size, in device pixels.")
    max_sizes: int = option(
        0,
        "How many sizes of one image visitors may have stored where `sizes` is `any`, besides those of `presets`; one "
        "more is rendered and not stored. 0 sets no bound.",
    )
    snap: bool = option(
        False,
        "Redirect a size off the list to the smallest one on it that covers it with the same fit, instead of 404.",
    )
    private: bool = option(False, "Whether images are stored so that only signed URLs show anything of them.")
    secret: tuple[str, ...] = option(
        (), "Keys that sign URLs, one a line: the first signs, all are accepted.", secret=True, read=_lines
    )

    def __post_init__(self) -> None:
        if any(key in ("", "none") for key in self.secret):
            raise ConfigurationError("'secret' holds an empty key; give long random texts, one a line.")
        if any([key] != key.strip().splitlines() for key in self.secret):
            raise ConfigurationError("'secret' holds a key with blanks at an end, or a line break; a key is one line.")


class Policy:
    """The settings above, read and checked once. Raises :class:`~lazycrop.errors.ConfigurationError`."""

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings
        self.any = settings.sizes == (ANY,)
        self.qualities: dict[Size, int] = {}
        """The quality of each size that has one of its own, 0 to 100, on the scale of JPEG."""
        self.presets = {name: self._preset(name, size) for name, size in settings.presets.items()}
        listed = [] if self.any else [self._size("sizes", size) for size in settings.sizes]
        self._listed = frozenset([*listed, *self.presets.values()])
        for format in settings.formats:
            if format not in CONTENT_TYPES:
                raise ConfigurationError(
                    f"The format {format!r} in 'formats' is unknown; the formats are {', '.join(CONTENT_TYPES)}."
                )

    @property
    def listed(self) -> frozenset[Size]:
        """The sizes that may be asked for by their names, and by those of presets."""
        return self._listed

    @property
    def closed(self) -> bool:
        """Nothing may be asked for without a signature."""
        return not self.any and not self._listed

    def lists(self, derivative: Derivative) -> bool:
        """May this be asked for by anybody? An origin may wherever any size may."""
        if derivative.size is None:
            return not self.closed
        return self.any or derivative.size in self._listed

    def check(self, derivative: Derivative) -> None:
        """Raise :class:`~lazycrop.errors.NotAllowed` for what nobody may ask for, with a signature or without."""
        formats = self._settings.formats
        if derivative.size is not None and derivative.format not in (*formats, AUTO):
            raise NotAllowed(
                f"The format {derivative.format!r} may not be asked for; the formats are {', '.join(formats)}."
            )
        if derivative.size is not None and derivative.size.edge > self._settings.max_edge:
            raise NotAllowed(
                f"The size {str(derivative.size)!r} has a side of {derivative.size.edge} pixels; "
                f"{self._settings.max_edge} are allowed."
            )

    def snapped(self, size: Size) -> Size | None:
        """The smallest listed size that covers ``size`` with the same fit and options, when snapping is on."""
        if not self._settings.snap:
            return None
        covering = [listed for listed in self._listed if _covers(listed, size)]
        return min(covering, key=_area, default=None)

    def _preset(self, name: str, size: str) -> Size:
        if not _PRESET.fullmatch(name) or name == "origin":
            raise ConfigurationError(
                f"The preset name {name!r} is malformed; it is a lower-case letter, then letters, digits, '_' and '-'."
            )
        try:
            Size.parse(name)
        except BadSize:
            return self._size("presets", size)
        raise ConfigurationError(f"The preset name {name!r} is a size itself; choose another name.")

    def _size(self, setting: str, text: str) -> Size:
        named = _QUALITY.fullmatch(text)
        try:
            size = Size.parse(named["size"] if named else text)
        except BadSize as error:
            raise ConfigurationError(f"In {setting!r}: {error}") from None
        if size.edge > self._settings.max_edge:
            raise ConfigurationError(
                f"In {setting!r}: {text!r} is larger than 'max_edge', {self._settings.max_edge} pixels."
            )
        if named:
            self._take_quality(setting, size, named["quality"])
        return size

    def _take_quality(self, setting: str, size: Size, text: str) -> None:
        """A size has one key in the store, and so one quality, whatever it is called."""
        if not re.fullmatch("[0-9]{1,3}", text, re.ASCII) or int(text) > 100:
            raise ConfigurationError(f"In {setting!r}: the quality of {str(size)!r} is {text!r}; it is 0 to 100.")
        if self.qualities.setdefault(size, int(text)) != int(text):
            raise ConfigurationError(
                f"In {setting!r}: the size {str(size)!r} has the quality {text}, and {self.qualities[size]} in another "
                "place; a size has one. Give them alike, or make one of the two a pixel larger."
            )


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


def _covers(listed: Size, size: Size) -> bool:
    pairs = list(zip(listed.box, size.box, strict=True))
    same_sides = all((one is None) == (other is None) for one, other in pairs)
    return listed.options == size.options and same_sides and all(one >= other for one, other in pairs if one and other)


def _area(size: Size) -> tuple[int, str]:
    width, height = size.box
    return (width or 1) * (height or 1), str(size)
