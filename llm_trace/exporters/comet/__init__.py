"""Comet's wire format: trees of calls as LLM experiments, runs as experiments, and archives for both."""

from llm_trace.exporters.comet.exporter import CometExporter, make

__all__ = ["CometExporter", "make"]
