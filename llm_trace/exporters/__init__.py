"""Destinations beside the local store, one module a wire format."""
