"""Who may come in."""

import hmac
from collections.abc import Mapping

from maya_bridge.serving.errors import ApiError


def is_key(given: bytes, key: str) -> bool:
    """Tell whether two keys are one, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given, key.encode("utf-8"))


def check_key(headers: Mapping[str, str], key: str | None) -> None:
    """Refuse a request without the server's key.

    Args:
        headers: of the request, by lower-case name.
        key: None lets everybody in.

    Raises:
        ApiError: 401.
    """
    if key is None:
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise ApiError(
            401, "this server wants an API key, as `Authorization: Bearer KEY`", code="missing_api_key"
        )
    # Headers are bytes, which the web framework shows as Latin-1.
    if not is_key(given.strip().encode("latin-1"), key):
        raise ApiError(401, "the API key is not the one of this server", code="invalid_api_key")
