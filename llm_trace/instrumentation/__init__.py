"""LLM libraries become traced calls without decorators; nothing of a library is imported before the program
does.
"""
