"""Alembic migrations; run by the store."""
