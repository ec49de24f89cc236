"""Opik's wire format: trees of calls as traces with spans, scores and explanations as feedback."""

from llm_trace.exporters.opik.exporter import OpikExporter, make

__all__ = ["OpikExporter", "make"]
