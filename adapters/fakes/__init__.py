"""Twins of what this service meets outside, for tests, demonstrations and whoever connects a system:
the regions in memory, and over HTTP an upstream of each channel whose faults can be set."""

from adapters.fakes.gazetteer import FEW_REGIONS, MemoryGazetteer
from adapters.fakes.upstream import Faults, Received, Upstream, serving

__all__ = ["FEW_REGIONS", "Faults", "MemoryGazetteer", "Received", "Upstream", "serving"]
