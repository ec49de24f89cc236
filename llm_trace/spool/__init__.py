"""The crash-proof log: one append-only file per process, one JSON line per event (docs/spool-format.md)."""
