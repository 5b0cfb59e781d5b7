"""Sources of input, one file a kind; other packages add kinds through entry points."""

from firmware_bridge.sources.base import GROUP, Context, Kind, Source, SourceOptions, kinds

__all__ = ["GROUP", "Context", "Kind", "Source", "SourceOptions", "kinds"]
