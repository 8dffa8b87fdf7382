"""The load benchmarking harness: drives any proxy from outside, and imports none of it."""
