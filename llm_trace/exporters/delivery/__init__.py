"""Carry the spool to every exporter, at least once: reading, cursors, retries, setting aside, a daemon."""
