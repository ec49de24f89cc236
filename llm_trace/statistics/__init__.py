"""Pure functions from arrays of paired differences to bounds, p-values and sizes; nothing here knows what
a call is.
"""
