"""Models that cannot be opened: text in, text out, perhaps log-probabilities.

`model.Remote` says how a model is asked, what it costs and how its answers are compared; `caller.Caller` asks
it: many calls at once, with retries, a budget that is never exceeded (`ledger`) and answers kept on disk
(`answers`). `values` turns keep-masks into values, as `local.LocalValue` does for models that are open, so
that every estimator works on both; `explaining.explain` is the way from question to `Attribution`. Nothing
here imports torch; httpx only where `completions.Completions` speaks to a server.
"""
