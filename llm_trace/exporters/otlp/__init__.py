"""OpenTelemetry's wire format: calls as spans under the GenAI convention, and its two metrics."""

from llm_trace.exporters.otlp.exporter import OtlpExporter, make

__all__ = ["OtlpExporter", "make"]
