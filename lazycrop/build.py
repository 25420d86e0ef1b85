"""Build: the parts that settings name, each made once and handed to those who need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lazycrop.access.policy import Access, Policy
from lazycrop.caches.contract import KeyValue
from lazycrop.caches.layered import Layered
from lazycrop.caches.memcached import Memcached
from lazycrop.caches.process import ProcessCache
from lazycrop.caches.sealed import Sealed
from lazycrop.catalogue.demand import Demand
from lazycrop.concurrency.timing import Tracing
from lazycrop.errors import ConfigurationError
from lazycrop.events import Events, listener
from lazycrop.library.adopting import Adopting
from lazycrop.library.budget import Budget
from lazycrop.library.changes import Changes
from lazycrop.library.cleaning import Cleaning
from lazycrop.library.common import Common
from lazycrop.library.editing import Editing
from lazycrop.library.fallback import Fallback
from lazycrop.library.jobs import DEMAND, LOOK, LOOSE, MEZZANINES, STORE, WARM, Jobs
from lazycrop.library.listing import Listing
from lazycrop.library.making import Maker
from lazycrop.library.mending import Mending
from lazycrop.library.origins import Origins
from lazycrop.library.overload import Overload
from lazycrop.library.pages import Pages
from lazycrop.library.records import Records
from lazycrop.library.renders import Renders
from lazycrop.library.state import LARGEST, State
from lazycrop.library.stored_sizes import StoredSizes
from lazycrop.library.storing import Storing
from lazycrop.library.verifying import Verifying
from lazycrop.library.versions import Versions
from lazycrop.library.warming import Warming
from lazycrop.library.watch import Watch
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.pictures.settings import Recipes
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.contract import EMBEDDED, INLINE, NO_HOOKS, Actor, Hooks, Queue, QueueSettings
from lazycrop.queues.embedded import EmbeddedQueue
from lazycrop.queues.inline import InlineQueue
from lazycrop.settings import Config
from lazycrop.sources.places import Sources
from lazycrop.stores.guarded import Guarded
from lazycrop.stores.places import open_store

if TYPE_CHECKING:
    from lazycrop.catalogue.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a LazyCrop is made of."""

    policy: Policy
    access: Access
    common: Common
    sources: Sources
    jobs: Jobs
    budget: Budget
    maker: Maker
    overload: Overload
    pages: Pages
    versions: Versions
    adopting: Adopting
    fallback: Fallback
    listing: Listing
    editing: Editing
    cleaning: Cleaning
    verifying: Verifying
    mending: Mending
    tracing: Tracing | None
    watch: Watch
    catalogue: Catalogue | None
    demand: Demand | None


def build(config: Config) -> Parts:
    """Make the parts and connect them. Connects to nothing outside, starts no thread. Raises ConfigurationError."""
    policy, tracing = Policy(config.policy), open_tracing(config)
    access, recipes = Access(policy, config.policy), Recipes(config.recipe, policy.qualities)
    shared = open_shared_cache(config, store := open_store(config.store))
    common, sources = open_common(config, store, shared, recipes)
    versions = Versions(common, config)
    adopting = Adopting(common, versions, config)
    stored = StoredSizes(store, common.state, len(CONTENT_TYPES) * config.policy.max_sizes)
    budget = Budget(common.state, stored, policy, config)
    storing = Storing(common, versions, adopting, policy, recipes, budget, config.queue.backlog_seconds)
    actors: dict[str, Actor] = {STORE: storing.store, MEZZANINES: storing.add_mezzanines, LOOK: adopting.look_again}
    jobs = Jobs(actors, lambda actors: open_queue(config.queue, actors, jobs.hooks), common.events, tracing)
    listing = Listing(common)
    catalogue, demand = connect_catalogue(config, common, listing, versions, policy, jobs)
    if not isinstance(config.queue.broker, str):
        jobs.queue  # An application's own broker knows the actors from the start.
    maker = Maker(common, jobs, budget, config)
    return Parts(
        policy=policy,
        access=access,
        common=common,
        sources=sources,
        jobs=jobs,
        budget=budget,
        maker=maker,
        overload=Overload(common, stored, policy),
        pages=Pages(common.records, common.origins, maker, config),
        versions=versions,
        adopting=adopting,
        fallback=Fallback(versions, config),
        listing=listing,
        editing=Editing(common, versions, config),
        cleaning=Cleaning(common, listing, versions, policy, access, config, catalogue),
        verifying=Verifying(common, listing, config),
        mending=Mending(common, versions, storing, config),
        tracing=tracing,
        watch=Watch(common, shared, jobs),
        catalogue=catalogue,
        demand=demand,
    )


def open_common(config: Config, store: Guarded, shared: KeyValue | None, recipes: Recipes) -> tuple[Common, Sources]:
    """What those have in common who make, store and purge; and where files are that are images already."""
    events, state = open_events(config), open_state(config, shared, repr(store), recipes)
    sources = Sources(config.sources, config.download, config.store, store.unguarded)
    origins = Origins(store, sources, config)
    changes = Changes(store, state, config.cache.record_seconds)
    records = Records(store, state, changes, origins, recipes, config.cache.record_seconds)
    renders = Renders(state, events, recipes, config.limits, config.renders)
    return Common(store, state, changes, records, origins, renders, events), sources


def open_events(config: Config) -> Events:
    """Those who listen by the settings are there from the start."""
    events = Events()
    if config.metrics:
        count(events)
    if config.events is not None:
        events.on_all(listener(config.events))
    return events


def connect_catalogue(
    config: Config, common: Common, listing: Listing, versions: Versions, policy: Policy, jobs: Jobs
) -> tuple[Catalogue | None, Demand | None]:
    """The catalogue and what counts for it, as listeners, with their actors; nothing where there is none."""
    if config.catalogue.catalogue is None:
        if config.catalogue.warm_on_store:
            raise ConfigurationError(
                "'warm_on_store' needs to know what is asked for: set 'catalogue', or leave it out."
            )
        return None, None
    try:
        from lazycrop.catalogue.catalogue import Catalogue
        from lazycrop.catalogue.loose import Loosening
    except ImportError:
        raise ConfigurationError("A catalogue needs SQLAlchemy: pip install lazycrop[catalogue].") from None
    catalogue = Catalogue(config.catalogue, common.records.what_is, listing)
    demand = Demand(partial(jobs.hand_over, DEMAND), jobs.close)
    warming = Warming(common, policy, jobs, catalogue.most_wanted, config.catalogue.warm_on_store)
    jobs.add(DEMAND, catalogue.add_demand)
    purge = partial(versions.purge, version=None, forget=False)
    jobs.add(LOOSE, Loosening(catalogue.database, purge).purge_loose)
    jobs.add(WARM, warming.warm)
    catalogue.listen(common.events)
    demand.listen(common.events)
    if config.catalogue.warm_on_store:
        warming.listen(common.events)
    return catalogue, demand


def count(events: Events) -> None:
    """Have what happens counted for Prometheus."""
    try:
        from lazycrop.metrics.counts import Counts
    except ImportError:
        raise ConfigurationError("The setting 'metrics' needs a client: pip install lazycrop[metrics].") from None
    Counts(events)


def open_tracing(config: Config) -> Tracing | None:
    if not config.traces:
        return None
    try:
        from lazycrop.metrics.spans import Traces
    except ImportError:
        raise ConfigurationError("The setting 'traces' needs an API: pip install lazycrop[otel].") from None
    return Traces()


def open_state(config: Config, shared: KeyValue | None, name: str, recipes: Recipes) -> State:
    """What is known of the images of the store of this name; what is known of another store's is never taken for it."""
    local = ProcessCache(config.cache.cache_bytes)
    cache: KeyValue = local if shared is None else Layered(shared, local)
    largest = config.cache.cache_bytes // 4 if shared is None else LARGEST
    secret = config.policy.secret[0] if config.policy.secret else ""
    return State(Sealed(cache, name, secret), config.cache, largest, recipes)


def open_shared_cache(config: Config, store: Guarded) -> KeyValue | None:
    """The cache that several processes have in common, if there is one."""
    cache = config.cache
    shared: KeyValue | None = cache.cache
    if shared is None and cache.memcached:
        shared = Memcached(cache.memcached, seconds=cache.memcached_seconds, rest_seconds=cache.memcached_rest_seconds)
    if shared is not None and not store.is_named:
        raise ConfigurationError(
            f"{store!r} does not say where it is: give its class a __repr__ that names its place, alike in every "
            "process, so that processes can share a cache of it."
        )
    return shared


def open_queue(settings: QueueSettings, actors: Mapping[str, Actor], hooks: Hooks = NO_HOOKS) -> Queue:
    """The queue that ``settings.broker`` names, with ``actors`` by name on it."""
    if isinstance(settings.broker, Queue):
        return settings.broker
    if settings.broker == INLINE:
        return InlineQueue(actors)
    if settings.broker == EMBEDDED:
        return EmbeddedQueue(settings, actors, hooks)
    return BrokerQueue(settings, actors, hooks)
