"""Readers of raw payloads, one module a dialect, written from the providers' documentation."""
