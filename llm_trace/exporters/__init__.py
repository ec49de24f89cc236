"""Destinations beside the local store, a package for each wire format, and what all of them share.

A new one implements `protocol.Exporter`; `bodies` packs its requests, `trees` gives whole traces, `registry`
finds it by its entry point, and `delivery` does everything else.
"""
