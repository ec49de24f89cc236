"""The DuckDB store: `ingest` folds the spool into tables, `duckdb.Store` answers from them."""
