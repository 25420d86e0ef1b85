"""The settings of the catalogue; what reads them needs no database."""

from __future__ import annotations

from dataclasses import dataclass

from lazycrop.options import option


@dataclass(frozen=True, kw_only=True)
class CatalogueSettings:
    catalogue: str | None = option(
        None,
        "The database that what the store knows is written to, and what is asked for is counted in: "
        "`sqlite:///lazycrop.db`, `postgresql+psycopg://…`.",
        secret=True,
    )
    catalogue_seconds: float = option(
        5.0, "How long whoever stores or purges waits for the catalogue's database.", rare=True
    )
    demand_days: int = option(90, "How many days the catalogue keeps what was asked for.", least=1)
    warm_on_store: int = option(
        0, "How many of the sizes that are most asked for are made of each new image, by the worker."
    )
