"""A lake: one set of Delta tables that many machines ship their calls to, and that `open_store` reads."""
