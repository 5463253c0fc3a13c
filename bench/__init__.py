"""Measurements and fits; nothing here runs in the service."""
