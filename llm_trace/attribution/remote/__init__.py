"""Models that cannot be opened: text in, text out, perhaps log-probabilities.

`model.Remote` says how a model is asked, what it costs and how its answers are compared; `client.Caller` asks
it: many calls at once, with retries, a budget that is never exceeded (`ledger`) and answers kept on disk
(`answers`). `values` turns keep-masks into values, as `models.open_value` does for open models, so that every
estimator works on both. Nothing here imports torch; only `completions.Completions` imports httpx.
"""
