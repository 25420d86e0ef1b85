"""Provenance: what a version of an image is made of, and what is known of it before it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from lazycrop.model.records import Record, now
from lazycrop.pictures.ingest import Prepared


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a version is made of. ``source``: in a word where it is from. ``sha256``, ``length``: of that file.

    ``validator``: what the source says of it, of an image that is adopted. ``private``: as of a record.
    """

    source: str
    sha256: str
    length: int = 0
    validator: str = ""
    private: bool = False


def record_of(image_id: str, version: int, prepared: Prepared, provenance: Provenance, recipe: str) -> Record:
    """What is known of a version that is going to be stored. ``recipe``: by which its sizes will be made."""
    return Record(
        image_id=image_id,
        version=version,
        format=prepared.format,
        width=prepared.width,
        height=prepared.height,
        length=len(prepared.data) or provenance.length,
        sha256=sha256(prepared.data).hexdigest() if prepared.data else provenance.sha256,
        stored_at=now(),
        source=provenance.source,
        frames=prepared.frames,
        transparent=prepared.transparent,
        mezzanines=tuple(mezzanine for mezzanine, _ in prepared.mezzanines),
        placeholder=prepared.placeholder,
        colour=prepared.colour,
        focal=prepared.focal,
        recipe=recipe,
        private=provenance.private,
        made_from=provenance.sha256,
        validator=provenance.validator,
        at_source=not prepared.data,
    )
