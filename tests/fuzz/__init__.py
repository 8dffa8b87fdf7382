"""Coverage-guided fuzzing of the parsers: see __main__.py. The seeds are run by tests/ingress/proxy/test_seeds.py."""
