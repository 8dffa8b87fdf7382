# The parsers as Python functions, for tests and fuzzing: octets in, what was understood out. No socket is involved.
