"""From a value function and a number of segments to `Scores`; no method knows who computes the values."""
