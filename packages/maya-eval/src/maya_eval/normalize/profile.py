"""What a profile is: a name, a version, a rule, and the languages that the rule is for."""

from collections.abc import Callable
from dataclasses import dataclass

from maya_eval.languages import code_of_name, codes

LANGS = ("as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te")
ALSO_KNOWN = ("sa", "ur")
"""Languages of the benchmarks beyond the twelve; they are scored, with no rules of their own."""


@dataclass(frozen=True)
class Profile:
    """A named way to normalise text for scoring."""

    name: str
    version: str
    description: str
    rule: Callable[[str, str], str]
    langs: tuple[str, ...] | None = None
    """Languages it is for; None means any."""
    empty_reference: str = ""
    """What an empty reference becomes, where a recipe puts a word in its place."""

    def __call__(self, text: str, lang: str) -> str:
        """Returns `text` as it is scored in this profile."""
        self.check(lang)
        return self.rule(text, lang)

    def reference(self, text: str, lang: str) -> str:
        """Returns a reference as it is scored, with the profile's stand-in for an empty one."""
        return self(text, lang) or self.empty_reference

    def covers(self, lang: str) -> bool:
        """Whether the profile has rules for that language."""
        return self.langs is None or lang in self.langs

    def check(self, lang: str) -> None:
        """Refuses a language that the profile has no rules for."""
        if self.langs is not None and lang not in self.langs:
            raise ValueError(
                f"`lang` must be one of {', '.join(self.langs)} in {self.name}, got {lang!r}{_meant(lang)}"
            )


def _meant(lang: str) -> str:
    """The code of a language that was written out, or with its country."""
    code = code_of_name(lang) or lang.replace("_", "-").partition("-")[0].lower()
    return f"; did you mean {code!r}?" if code != lang and code in codes() else ""
