"""How work reaches those who do it: the contract of a queue, the caller itself, threads of this process, a broker."""

from lazycrop.queues.contract import Queue as Queue
