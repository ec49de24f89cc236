"""From a value function and a number of segments to `Scores`; no method knows who computes the values.

A new one is a function as `registry.Method` describes it, with `registry.describe_method`, and a line in
`registry.BUILTIN`; `exact` is the shortest example. Where a method tests, its `Scores` have `p_values`.
"""
