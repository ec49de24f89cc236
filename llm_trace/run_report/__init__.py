"""A run, or one run against another, as a page that stands alone: `llm-trace report`."""
