"""Pages over a store, for a browser on this machine: `llm-trace view`.

A page is a function from a store and the address to plain data, and a template that shows them; the same
address with `.json` gives the data.
"""
