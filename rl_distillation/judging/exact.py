"""Equality after normalising what does not matter: case, accents' encoding, articles, punctuation, number spelling.

Two bare numbers are always decided, by value. Two texts are decided when they are equal, or when the answer is one of
the sentences people wrap an answer in ("It is Paris."); unequal texts are passed on, since "big" may well be "large".
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from rl_distillation.judging.verdict import Pair, Verdict

_ARTICLES = {"a", "an", "the"}
_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")
_WRAPPER = re.compile(
    r"(?:it'?s|it is|that is|they are|the (?:correct )?answer is|answer:)\s+(.+)", re.IGNORECASE | re.DOTALL
)


def normalise(text: str) -> str:
    """The text without case, punctuation, articles and odd spacing."""
    text = unicodedata.normalize("NFKC", text).casefold()
    spaced = "".join(c if c.isalnum() or c in "+-.,%" else " " for c in text)
    words = (word.strip(".,") for word in spaced.split())
    return " ".join(word for word in words if word and word not in _ARTICLES)


def number(text: str) -> Decimal | None:
    """The value of a text that is one bare number, or None."""
    text = unicodedata.normalize("NFKC", text).strip().rstrip(".")
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None


def unwrap(text: str) -> str:
    """The answer inside a sentence such as "It is Paris.", or the text itself."""
    match = _WRAPPER.fullmatch(text.strip())
    return match[1] if match else text


def same(one: str, other: str) -> bool | None:
    """Whether two answers are the same; None when that takes more than spelling to say."""
    one, other = unwrap(one), unwrap(other)
    first, second = number(one), number(other)
    if first is not None and second is not None:
        return first == second
    if normalise(one) == normalise(other):
        return bool(normalise(one)) or one.strip() == other.strip()
    return None


class Exact:
    """Decides equal answers, and numbers either way."""

    def decide(self, pairs: list[Pair]) -> list[Verdict | None]:
        return [self._decide(pair) for pair in pairs]

    def _decide(self, pair: Pair) -> Verdict | None:
        match same(pair.reference, pair.answer):
            case True:
                return Verdict(True, 1.0, "exact", "the same after normalising")
            case False:
                return Verdict(False, 0.0, "exact", "another number")
        return None
