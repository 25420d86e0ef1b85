"""What is known without asking the store: the contract of a cache of bytes, a process's own memory, and memcached."""

from lazycrop.caches.contract import KeyValue as KeyValue
from lazycrop.caches.memcached import Memcached as Memcached
from lazycrop.caches.process import ProcessCache as ProcessCache
