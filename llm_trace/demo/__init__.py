"""The embedded model and the small world it knows: a refund desk."""
