"""Run a recorded program again: its calls answered from the record, or live with something changed."""
