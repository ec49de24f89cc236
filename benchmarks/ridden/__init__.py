"""Programs of libraries that are ridden, each in an environment of its own: `python -m benchmarks.ridden`."""
