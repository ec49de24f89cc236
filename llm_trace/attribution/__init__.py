"""Which parts of a prompt made the model answer as it did, and how far to trust that.

`segments` turns text into features, `renders` turns keep-masks into token ids, `value` and `local` turn masks
into log-probabilities, `estimators` turn these into scores, `quality` says whether they are evidence.
`api.attribute` is the front door. Nothing here imports torch or transformers before an attribution is asked
for.
"""
