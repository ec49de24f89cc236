"""One question to one `Attribution` (`dispatch`, then `open` or `remote`), or to its price (`dry_run`)."""
