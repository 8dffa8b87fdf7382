"""One target under libFuzzer; started by __main__.py in the environment that has atheris."""

import os
import sys

import atheris

from tests.fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv.pop(1)]
    sys.argv[0] = os.environ["FUZZ_PROGRAM"]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
