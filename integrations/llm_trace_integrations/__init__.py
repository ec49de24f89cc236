"""Instrumentation of SDKs and frameworks, one module a library, found by entry points."""
