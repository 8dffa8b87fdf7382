"""What a Secret has under a name."""

import base64
import binascii

from lb.cluster.objects import Secret, UnreadSecret


class BadSecret(Exception):
    """The Secret does not hold what it should."""


def secret_value(secret: Secret, name: str) -> bytes:
    """Raises BadSecret if it has nothing of that name or something that cannot be decoded, or could not be read."""
    if isinstance(secret, UnreadSecret):
        raise BadSecret(f"it cannot be read: {secret.why}")
    plain = (secret.string_data or {}).get(name)
    if plain is not None:
        return plain.encode()
    encoded = (secret.data or {}).get(name)
    if encoded is None:
        raise BadSecret(f"it has no {name}")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except binascii.Error:
        raise BadSecret(f"{name} is not base64; plain text goes under stringData") from None
