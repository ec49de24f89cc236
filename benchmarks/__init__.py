"""Benchmarks: each prints ratios measured in one run, beside what they are compared with.

python -m benchmarks.capture     what a traced call costs its caller
python -m benchmarks.delivery    what becomes of it: lost, killed, shared, imported
python -m benchmarks.peers       makes environments for other libraries, which the two above take as `--peers`
"""
