"""The tables and all the SQL. Everything above asks for a function here and hands it to a Store."""

from service.store.engine import (
    BadDatabaseUrl,
    InUse,
    OutcomeUnknown,
    Store,
    StoreFull,
    StoreUnavailable,
    Terms,
    open_store,
)

__all__ = [
    "BadDatabaseUrl",
    "InUse",
    "OutcomeUnknown",
    "Store",
    "StoreFull",
    "StoreUnavailable",
    "Terms",
    "open_store",
]
