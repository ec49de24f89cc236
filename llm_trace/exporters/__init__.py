"""Destinations beside the local store, one package a wire format; what all of them share stands beside them."""
