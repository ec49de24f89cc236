"""The store as tools of the Model Context Protocol: verdicts with bounds, short enough for a coding agent."""
