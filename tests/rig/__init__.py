"""Recorded exchanges through real clients: served on 127.0.0.1, asked for by the provider's own client or by
a framework above it, recorded by whatever is switched on, and compared with what the raw payloads say.

`exchanges` has the recordings, `server` answers with them, `clients` and `drivers` ask; `oracle` (with
`payloads/`) reads the raw payloads without any of llm_trace's code; `instrumentations` is what can be
switched on; `measure` puts these together, and `judge` compares the stored call with the facts, field by
field. `python -m benchmarks.fields` prints the result as a table.
"""
