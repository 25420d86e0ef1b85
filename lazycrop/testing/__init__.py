"""For the tests of those who bring a store, a source or a cache of their own: contracts that can be run.

In a test::

    def test_my_store_keeps_its_promises():
        check_store(MyStore())

    def test_my_source_keeps_its_promises(tmp_path):
        def make(files):
            ...put ``files``, bytes by name, where it finds them...
            return MySource(tmp_path)

        check_source(make)

    def test_my_cache_keeps_its_promises():
        check_key_value(MyCache())
"""

from lazycrop.testing.contracts import check_key_value as check_key_value
from lazycrop.testing.contracts import check_store as check_store
from lazycrop.testing.sources import check_source as check_source
