"""Destinations beside the local store, a package for each wire format, and what all of them share."""
