"""Taking out of an answer what only an eye can use: markdown and pictures."""

import re

_FENCE = re.compile(r"(?:```|~~~)")
_TABLE_RULE = re.compile(r"\|?[\s:|-]*-[\s:|-]*\|[\s:|-]*")
_LINE_START = re.compile(
    r"^(?:>\s+|#{1,6}\s+|[-*+\u2022\u25aa\u25cf\u2013]\s+(?:\[[ xX]\]\s+)?|(\d{1,3})[.)]\s+(?=\S))"
)
_RULE = re.compile(r"(?:[-*_=]\s*){3,}")
_IMAGE = re.compile(r"!\[([^\]\n]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
_LINK = re.compile(r"\[([^\]\n]+)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)?[^\s<>]+[.@][^\s<>]+)>")
_TAG = re.compile(r"</?(?:b|i|u|em|strong|br|p|span|code|speak|sub|sup|li|ul|ol)\s*/?>", re.IGNORECASE)
_BOLD = re.compile(r"\*{2,3}|_{2,3}(?=\w)|(?<=[\w.,!?])_{2,3}|~~")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*\d])|(?<=[^\s*])\*(?![\w*])|(?<!\w)_(?=\w)|(?<=[^\s_])_(?!\w)")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!|>~-])")
_PICTURES = re.compile(
    "[\u200d\ufe0e\ufe0f\u20e3\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2b00-\u2bff"
    "\U0001f000-\U0001faff\U000e0020-\U000e007f\u2122\u00ae\u00a9]"
)
_SPACES = re.compile(r"\s+")
_BEFORE_MARK = re.compile(r"\s+(?=[,.;:!?](?:\s|$))")


class Markup:
    """Makes plain, readable text of the clauses of one answer, given in order; code between fences is left out."""

    def __init__(self) -> None:
        self._fenced = False

    def plain(self, clause: str) -> str:
        """``clause`` without marks; empty when there was nothing else."""
        text, *rest = _FENCE.split(clause)
        text = "" if self._fenced else text
        for part in rest:
            self._fenced = not self._fenced
            if not self._fenced:
                text = f"{text} {part}"
        return _plain(text.strip())


def _plain(text: str) -> str:
    if _RULE.fullmatch(text) or _TABLE_RULE.fullmatch(text):
        return ""
    text = _LINE_START.sub(lambda mark: f"{mark[1]}, " if mark[1] else "", text, count=1)
    text = _IMAGE.sub(r"\1", text)
    text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _ESCAPE.sub(r"\1", text).replace("`", "")
    text = _EMPHASIS.sub("", _BOLD.sub("", text))
    if "|" in text:
        text = ", ".join(cell for cell in map(str.strip, text.split("|")) if cell)
    text = _SPACES.sub(" ", _PICTURES.sub(" ", text)).strip()
    return _BEFORE_MARK.sub("", text)
