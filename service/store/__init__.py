"""The tables and all the SQL. Everything above asks for a function here and hands it to a Store."""

from service.store.engine import BadDatabaseUrl, Store, StoreFull, StoreUnavailable, open_store

__all__ = ["BadDatabaseUrl", "Store", "StoreFull", "StoreUnavailable", "open_store"]
