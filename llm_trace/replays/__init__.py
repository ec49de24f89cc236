"""Run a recorded program again: its model and tool calls answered from the record, or live with something
changed.
"""
