"""Stages: a size is encoded fast for those who wait for it, and once more, small, by the worker that stores it.

The store holds the last stage only, so that a key has one content for ever; the first one is in the cache while it is
hot. Each has a fingerprint of its own, and with it an ETag of its own.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
from lazycrop.pictures.settings import Recipe


class Stage(IntEnum):
    """How far an encoding is."""

    FIRST = 1
    LAST = 2


class Stages:
    """By which recipe each stage of a derivative is made."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipes = {Stage.FIRST: recipe, Stage.LAST: recipe.last}
        self._fingerprints = {
            (format, stage): recipe.fingerprint(format)
            for format in CONTENT_TYPES
            for stage, recipe in self._recipes.items()
        }
        self.fingerprint_of_all = hashlib.sha256("".join(self._fingerprints.values()).encode()).hexdigest()[:16]

    def recipe(self, stage: Stage) -> Recipe:
        return self._recipes[stage]

    def fingerprint(self, derivative: Derivative, stage: Stage = Stage.FIRST) -> str:
        """Of the recipe by which this stage of a derivative is made."""
        return self._fingerprints[derivative.format, stage]

    def differ(self, derivative: Derivative) -> bool:
        """Has it two stages, or is what answers what is stored, too? An origin has one."""
        format = derivative.format
        return (
            derivative.size is not None
            and self._fingerprints[format, Stage.FIRST] != self._fingerprints[format, Stage.LAST]
        )
