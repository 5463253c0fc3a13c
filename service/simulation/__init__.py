"""The daily life of an invented place, walked by the decisions that the desk goes by (ADR 0023)."""
