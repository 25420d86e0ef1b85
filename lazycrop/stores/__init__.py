"""Where objects are kept: the contract of a store, and memory, a folder and S3, which keep it."""

from lazycrop.stores.contract import Opened as Opened
from lazycrop.stores.contract import Store as Store
from lazycrop.stores.folder import FolderStore as FolderStore
from lazycrop.stores.memory import MemoryStore as MemoryStore
from lazycrop.stores.s3 import S3Store as S3Store
