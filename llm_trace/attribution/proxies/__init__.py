"""A small open model explains the calls of a large closed one, where it has proved that it can (Liu et al.,
ACL 2026).

`model.Proxied` names both; `screening.screen` proves it for a task, instance by instance; `applying.applied`
uses the proxy where both models agree, audits it, and asks the oracle otherwise. `evidence` holds the tests,
`instances` what one call shows, `state` the file.
"""
