"""Cutting answers into clauses, whatever the size of the tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.text.clauses import ClauseSplitter


def split(text: str, size: int, language: str = "en-US") -> list[str]:
    splitter = ClauseSplitter(language)
    clauses = [clause for i in range(0, len(text), size) for clause in splitter.feed(text[i : i + size])]
    return clauses + splitter.flush()


SIZES = pytest.mark.parametrize("size", [1, 3, 1000])


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("  \n ", []),
        ("Hello.", ["Hello."]),
        ("Hello. How are you?", ["Hello.", "How are you?"]),
        ("Well, we are open, of course, at nine.", ["Well, we are open,", "of course, at nine."]),
        ("Notwithstanding counterarguments, no.", ["Notwithstanding counterarguments,", "no."]),
        ("Yes! It costs 3.50 today. Ask Dr. Smith.", ["Yes!", "It costs 3.50 today.", "Ask Dr. Smith."]),
        ("We open at 9 a.m. on Monday.", ["We open at 9 a.m. on Monday."]),
        ("Bring it at 9 a.m. Then wait.", ["Bring it at 9 a.m.", "Then wait."]),
        ("Yes. Take fruit, e.g. apples. Bye.", ["Yes.", "Take fruit, e.g. apples.", "Bye."]),
        ("Room No. 5 is free. No. It is not.", ["Room No. 5 is free.", "No.", "It is not."]),
        ("See https://example.com/a.b?c=d, or call.", ["See https://example.com/a.b?c=d,", "or call."]),
        ("Go to example.com. Then call.", ["Go to example.com.", "Then call."]),
        ("Mail me@example.com. Thanks.", ["Mail me@example.com.", "Thanks."]),
        ("Ask J. R. Smith. Bye.", ["Ask J. R. Smith.", "Bye."]),
        ("So do I. Then go.", ["So do I.", "Then go."]),
        ("It is on July 4, 2025 at noon.", ["It is on July 4, 2025 at noon."]),
        ("That makes 1,234.50 dollars. Fine?", ["That makes 1,234.50 dollars.", "Fine?"]),
        ('"Really?" she asked. "Go!" Then he went.', ['"Really?" she asked.', '"Go!"', "Then he went."]),
        ("Wait... what? Well\u2026 Maybe.", ["Wait... what?", "Well\u2026", "Maybe."]),
        ("We are open\u2014every day of it.", ["We are open\u2014", "every day of it."]),
        ("Open 9\u20135 daily. Good?", ["Open 9\u20135 daily.", "Good?"]),
        ("We will need 2 - 3 people.", ["We will need 2 - 3 people."]),
        ("Steps:\n1. Open it. Wait.\n2. Close it.", ["Steps:", "1. Open it.", "Wait.", "2. Close it."]),
        ("See [our page, with prices. All](http://x.org/p) now. Ok?", [
            "See [our page, with prices. All](http://x.org/p) now.", "Ok?",
        ]),
        ("It was 2020. Then it ended.", ["It was 2020.", "Then it ended."]),
        ("U.S. citizens only. Sorry.", ["U.S. citizens only.", "Sorry."]),
        ("\u4f60\u597d\u3002\u6211\u4eec\u4e5d\u70b9\u5f00\u95e8\uff0c\u4e94\u70b9\u5173\u95e8\u3002", [
            "\u4f60\u597d\u3002", "\u6211\u4eec\u4e5d\u70b9\u5f00\u95e8\uff0c\u4e94\u70b9\u5173\u95e8\u3002",
        ]),
        ("\u300c\u306f\u3044\u3002\u300d\u3068\u8a00\u3046\u3002", [
            "\u300c\u306f\u3044\u3002\u300d", "\u3068\u8a00\u3046\u3002",
        ]),
        ("\u0647\u0644 \u0623\u0646\u062a \u0647\u0646\u0627\u061f \u0646\u0639\u0645.", [
            "\u0647\u0644 \u0623\u0646\u062a \u0647\u0646\u0627\u061f", "\u0646\u0639\u0645.",
        ]),
    ],
)  # fmt: skip
@SIZES
def test_clauses(text: str, clauses: list[str], size: int) -> None:
    assert split(text, size) == clauses


@pytest.mark.parametrize(
    ("language", "text", "clauses"),
    [
        ("de-DE", "Am 3. Mai kostet es 3,50 Euro. Gut?", ["Am 3. Mai kostet es 3,50 Euro.", "Gut?"]),
        ("de-DE", "Ja. Obst, z.B. Birnen. Obst, z. B. Birnen.", ["Ja.", "Obst, z.B. Birnen.", "Obst, z. B. Birnen."]),
        ("fr-FR", "Oui. C'est 1 234,50 \u20ac pour M. Dupont. Bien ?", [
            "Oui.", "C'est 1 234,50 \u20ac pour M. Dupont.", "Bien ?",
        ]),
        ("es-ES", "S\u00ed. La Sra. Gil viene. \u00bfBien?", ["S\u00ed.", "La Sra. Gil viene.", "\u00bfBien?"]),
    ],
)  # fmt: skip
@SIZES
def test_clauses_of_other_languages(language: str, text: str, clauses: list[str], size: int) -> None:
    assert split(text, size, language) == clauses


def test_the_first_clause_is_out_before_the_answer_is_complete() -> None:
    splitter = ClauseSplitter()
    out = [splitter.feed(word + " ") for word in ["We", "are", "open,", "from", "nine", "to", "five."]]
    assert [clause for clauses in out[:4] for clause in clauses] == ["We are open,"]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("One moment.", ["One moment."]),
        ("One moment. ", ["One moment."]),
        ("Really?", ["Really?"]),
        ('He said "Go."', ['He said "Go."']),
        ("\u4f60\u597d\u3002", ["\u4f60\u597d\u3002"]),
        ("One moment", []),
        ("One moment,", []),
        ("Ask Dr.", []),
        ("1.", []),
        ("", []),
    ],
)
def test_a_sentence_is_out_when_nothing_follows_it_for_a_while(text: str, clauses: list[str]) -> None:
    splitter = ClauseSplitter()
    assert splitter.feed(text) == []
    assert splitter.pause() == clauses
    assert splitter.feed(" then") + splitter.flush() == ["then" if clauses else f"{text} then".strip()]


def test_later_clauses_are_sentences_unless_they_are_long() -> None:
    later = "We have two rooms, three halls, and a bar. "
    long = "This one has more than enough words in it to be worth a breath, since it goes on."
    assert split("Sure. " + later + long, 5) == ["Sure.", later.strip(), *long.partition(", ")[::2]][:2] + [
        "This one has more than enough words in it to be worth a breath,",
        "since it goes on.",
    ]


def test_no_clause_is_endless() -> None:
    assert [len(clause.split()) for clause in split("word " * 100, 7)] == [40, 40, 20]
    assert [len(clause) for clause in split("\u5b57" * 100, 7)] == [80, 20]


TEXTS = st.lists(
    st.sampled_from([*"ab.,;?![]()\n\u3002\u3001\u5b57\u2014*-19", " ", " ", "Mr", "word ", "e.g. ", "9 a.m. "]),
    max_size=70,
)


@given(TEXTS, st.integers(1, 9), st.sampled_from(["en", "de", "ja"]))
def test_no_word_is_lost_and_token_size_does_not_matter(pieces: list[str], size: int, language: str) -> None:
    text = "".join(pieces)
    clauses = split(text, size, language)
    assert "".join("".join(clauses).split()) == "".join(text.split())
    assert clauses == split(text, 1, language)


@given(st.text(max_size=200), st.integers(1, 9))
def test_any_text_is_taken(text: str, size: int) -> None:
    assert "".join("".join(split(text, size)).split()) == "".join(text.split())


@pytest.mark.parametrize("token", ["a", ".", "!", "\u2026", "-", "[", "1", '."', "\t", "x.", "\u3002"])
def test_what_never_ends_is_cut_all_the_same(token: str) -> None:
    """A model that has lost its way would else keep the loop of all calls busy: with dots for minutes."""
    splitter = ClauseSplitter()
    clauses = [clause for _ in range(5000) for clause in splitter.feed(token)] + splitter.flush()
    assert all(len(clause) <= 800 for clause in clauses)
    assert "".join(clauses).replace(" ", "") == (token * 5000).strip()
