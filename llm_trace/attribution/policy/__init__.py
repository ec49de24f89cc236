"""Which logged calls are explained, when, in which process, and at what cost an hour."""
