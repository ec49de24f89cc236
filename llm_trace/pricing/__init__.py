"""What calls cost: prices of models by provider, date and service tier, and one formula.

`rates` turns a price into numbers that counts are multiplied by, `names` finds out whose model is meant,
`price_file` reads prices of one's own, `book` has them all. `genai_prices` is imported inside functions, and
only where calls are read from the spool.
"""
