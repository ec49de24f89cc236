"""Pure functions from arrays to bounds, p-values and sizes; nothing here knows what a call is."""
