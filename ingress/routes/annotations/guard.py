"""What an operator lets annotations say: how risky they may be, and words that no value may have.

An Ingress that says more is not served at all. To leave out the one annotation could open what it was to close.
"""

from collections.abc import Mapping

from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk

CONFIG = frozenset({"annotations-risk-level", "annotation-value-word-blocklist"})


def refusal(reader: Reader, risks: Mapping[str, Risk]) -> str:
    """Why an Ingress is not to be served, reported as well; "" if it is. risks: of the annotations that have any."""
    level = Risk[reader.choice("", tuple(Risk.__members__), "HIGH", config="annotations-risk-level")]
    words = reader.words("", config="annotation-value-word-blocklist")
    found = ""
    for name in reader.names:
        risk = risks.get(name, level)
        word = next((each for each in words if each in reader.written(name)), "")
        if risk > level:
            reason = (
                f"its risk is {risk.name.lower()}, and {level.name.lower()} is the highest that the operator allows"
            )
            advice = "remove it, or raise annotations-risk-level in the controller's ConfigMap"
        elif word:
            reason = f'its value has "{word}", which the operator forbids'
            advice = "write it without, or ask the operator (annotation-value-word-blocklist)"
        else:
            continue
        reader.wrong(name, f"{reason}; the Ingress is not served", advice)
        found = found or f"annotation {name}: {reason}"
    return found
