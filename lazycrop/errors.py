"""Everything that lazycrop raises, in one tree.

Each class carries the HTTP ``status`` that it becomes and a stable ``code`` for programs. The text of
an error is a sentence for a person: what was given, what is allowed, what to do. It is safe to show to
a client: hosts, keys and reasons of the infrastructure go to the log instead.
"""

from __future__ import annotations

from typing import Any


class LazyCropError(Exception):
    """Base of every error of this package."""

    status = 500
    code = "error"


class ConfigurationError(LazyCropError, ValueError):
    """A setting is unknown, malformed, or contradicts another one."""

    code = "configuration"


class BadRecord(LazyCropError):
    """A stored record cannot be read: it was cut, or written by something else."""

    code = "bad-record"


class BadRequest(LazyCropError, ValueError):
    """The request, or an argument that stands for a part of it, is malformed."""

    status = 400
    code = "bad-request"


class BadSize(BadRequest):
    """A size is not spelled as the grammar of :mod:`lazycrop.model.sizes` says."""

    code = "bad-size"


class BadImageId(BadRequest):
    """An image id is malformed, too long, or uses a reserved name; or the store cannot have it."""

    code = "bad-image-id"


class Forbidden(LazyCropError):
    """A signature is missing, wrong or expired."""

    status = 403
    code = "forbidden"


class NotFound(LazyCropError):
    """The image is unknown, or policy does not allow what is asked of it."""

    status = 404
    code = "not-found"


class UnknownImage(NotFound):
    """No image is stored under this id and version."""

    code = "unknown-image"


class OriginChanged(UnknownImage):
    """What an image was made from is gone, or another file by now. ``record``: of that image."""

    code = "origin-changed"

    def __init__(self, record: Any) -> None:
        what = f"version {record.version} of {record.image_id!r}"
        super().__init__(f"The file that {what} was made from is gone, or has changed.")
        self.record = record


class MissingObject(NotFound):
    """The store has no object under this key."""

    code = "missing-object"


class NotAllowed(NotFound):
    """Policy does not allow this size or format."""

    code = "not-allowed"


class MethodNotAllowed(LazyCropError):
    """Images are read with GET and HEAD only."""

    status = 405
    code = "method-not-allowed"


class ImageError(LazyCropError):
    """A picture cannot be used. Another try with the same bytes fails in the same way."""

    status = 422
    code = "image"


class UnsupportedImage(ImageError):
    """The bytes are of no image format that is accepted."""

    status = 415
    code = "unsupported-image"


class BrokenImage(ImageError):
    """The bytes begin as an image and cannot be decoded to the end."""

    code = "broken-image"


class ImageTooLarge(ImageError):
    """The image has more bytes, pixels, frames or scans than the limits allow."""

    code = "image-too-large"


class Quarantined(ImageError):
    """The image failed repeatedly and is not tried again for a while."""

    code = "quarantined"


class FetchError(LazyCropError):
    """A source URL was refused or could not be read."""

    status = 422
    code = "fetch"


class Unavailable(LazyCropError):
    """A part of the service cannot answer now; ask again after ``retry_after`` seconds."""

    status = 503
    code = "unavailable"
    retry_after = 5


class StoreUnavailable(Unavailable):
    """The store refused, failed or took too long."""

    code = "store-unavailable"


BEING_WRITTEN = "The image is being written at its source; try again in a few seconds."


class SourceUnavailable(Unavailable):
    """A source of images refused, failed or took too long."""

    code = "source-unavailable"


class Overloaded(Unavailable):
    """All render slots stayed taken for as long as a request may wait."""

    code = "overloaded"
    retry_after = 2
