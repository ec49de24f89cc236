"""A small open model explains the calls of a large closed one, where it has proved that it can.

`model.Proxied` names both; `screen.screen` proves it for a task, instance by instance; `explain` uses the
proxy where both models agree, audits it, and asks the oracle otherwise. `sequential_tests` decide, `examine`
says what one call shows, `screen_state` and `screen_file` keep it. Source: Liu et al., ACL 2026.
"""
