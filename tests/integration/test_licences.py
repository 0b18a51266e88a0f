"""No core dependency, direct or through another one, is under the GPL."""

import re
from importlib.metadata import PackageNotFoundError, metadata, requires

from packaging.requirements import Requirement

ROOTS = ("maya-data", "maya-encoder", "maya-bridge", "maya-eval", "maya-train")


def core_dependencies() -> set[str]:
    """Everything that an install without extras brings."""
    seen: set[str] = set()
    pending = list(ROOTS)
    while pending:
        name = pending.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:  # for another platform
            continue
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return seen - set(ROOTS)


def licence_of(name: str) -> str:
    try:
        info = metadata(name)
    except PackageNotFoundError:
        return ""
    classifiers = [line for line in info.get_all("Classifier") or [] if line.startswith("License")]
    declared = info.get("License-Expression") or (info.get("License") or "").split("\n")[0]
    return " ".join([declared, *classifiers])


def is_gpl(licence: str) -> bool:
    """LGPL is another licence; 'GPL' inside 'LGPL' or 'Lesser' does not count."""
    text = re.sub(r"LGPL\S*|Lesser General Public License[^:]*|AND Zlib", "", licence, flags=re.IGNORECASE)
    return bool(re.search(r"\bA?GPL|GNU (Affero )?General Public", text))


def test_no_core_dependency_is_gpl():
    found = core_dependencies()
    assert {"torch", "lhotse", "transformers", "lightning"} <= found
    assert not {name: licence_of(name) for name in found if is_gpl(licence_of(name))}


def test_the_synthesiser_is_only_in_the_synth_extra():
    assert "espeakng-loader" not in core_dependencies()
    extra = [text for text in requires("maya-data") if "espeakng" in text]
    assert extra
    assert all("extra == 'synth'" in text.replace('"', "'") for text in extra)


def test_the_check_would_notice_a_gpl_licence():
    assert is_gpl("GPL-3.0-or-later")
    assert is_gpl("License :: OSI Approved :: GNU General Public License v3 (GPLv3)")
    assert not is_gpl("LGPL-2.1-or-later")
