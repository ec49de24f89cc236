"""A receiver of OpenTelemetry's traces over HTTP (OTLP), that writes them to the spool as calls."""
