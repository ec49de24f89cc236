"""What the calls of runs come to, with no token and no dollar counted twice."""

COUNTED = """
    WITH RECURSIVE inside AS (
        SELECT child.span_id, step.run, step.input_tokens IS NOT NULL AS has_input, step.output_tokens IS NOT NULL AS has_output,
               step.cost_usd IS NOT NULL AS has_cost
        FROM calls step JOIN calls child ON child.parent_id = step.span_id
        WHERE step.run IS NOT NULL AND coalesce(step.input_tokens, step.output_tokens, step.cost_usd) IS NOT NULL
        UNION
        SELECT child.span_id, inside.run, has_input, has_output, has_cost
        FROM inside JOIN calls child ON child.parent_id = inside.span_id
    ), covered AS (
        SELECT span_id, run, bool_or(has_input) AS input, bool_or(has_output) AS output, bool_or(has_cost) AS cost
        FROM inside GROUP BY span_id, run
    ), counted AS (
        SELECT c.run, c.status, c.duration_ms, CASE WHEN o.input IS NOT TRUE THEN c.input_tokens END AS input_tokens,
               CASE WHEN o.output IS NOT TRUE THEN c.output_tokens END AS output_tokens,
               CASE WHEN o.cost IS NOT TRUE THEN c.cost_usd END AS cost_usd
        FROM calls c LEFT JOIN covered o ON o.span_id = c.span_id AND o.run = c.run WHERE c.run IS NOT NULL
    )"""
"""Begins a query: `counted` has the calls of all runs, of which the outermost ones that report a number have
it.

What a call reports includes what the calls inside it report, as in comparisons (`comparison/units.py`).
"""
