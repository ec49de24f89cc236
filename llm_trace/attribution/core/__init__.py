"""The types that every room of attribution shares: value functions, plans, plug-ins; numpy at most."""
