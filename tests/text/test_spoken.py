"""What a voice is given to say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.text.clauses import ClauseSplitter
from ai_engine.text.spoken import Spoken

MARKUP = [
    ("**Hello!** We're _open_ and *free*.", "Hello! We're open and free."),
    ("## Opening hours", "Opening hours"),
    ("> as they said", "as they said"),
    ("- [x] the first thing", "the first thing"),
    ("* the second thing", "the second thing"),
    ("\u2022 the third thing", "the third thing"),
    ("---", ""),
    ("***", ""),
    ("| Day | Hours |", "Day, Hours"),
    ("|---|:--:|", ""),
    ("[our site](https://x.com/a_(b)) has it", "our site has it"),
    ("![a cat](cat.png) sleeps", "a cat sleeps"),
    ("Use `git push` now", "Use git push now"),
    ("the snake_case name", "the snake case name"),
    ("~~old~~ new<br/>line", "old new line"),
    ("\U0001f389 Great \U0001f44d\U0001f3fd!", "Great!"),
    ("\U0001f600", ""),
    ("an escaped \\*star\\*", "an escaped star"),
    ("well\u2026", "well\u2026"),
]
ADDRESSES = [
    ("Go to https://www.example.com/help?x=1.", "Go to example dot com slash help."),
    ("Visit example.com/a-b, now", "Visit example dot com slash a dash b, now"),
    ("mail info@example-shop.co.uk.", "mail info at example dash shop dot co dot uk."),
    ("<https://example.com>", "example dot com"),
    ("jo_b+x@example.org", "jo underscore b plus x at example dot org"),
    ("Yes, at 9 p.m. or so", "Yes, at nine P M or so"),
]
NUMBERS = [
    ("It costs $3.50.", "It costs three dollars and fifty cents."),
    ("\u20ac9,99 or 9.99 \u20ac", "nine euros and ninety-nine cents or nine euros and ninety-nine cents"),
    ("\u00a32.01", "two pounds and one penny"),
    ("$1, $0.99, 5 USD", "one dollar, ninety-nine cents, five dollars"),
    ("$1.5 million and $20k", "one point five million dollars and twenty thousand dollars"),
    ("$10-$20 or -$5", "ten to twenty dollars or minus five dollars"),
    ("$5/month", "five dollars per month"),
    ("at 9:30 a.m. sharp", "at nine thirty A M sharp"),
    ("We open at 9 a.m.", "We open at nine A M."),
    ("9am-5pm", "nine A M to five P M"),
    ("from 9:00 to 17:30", "from nine o'clock to seventeen thirty"),
    (
        "at 14:00, 9:05, 12:00 PM, 0:15, 0:00",
        "at fourteen hundred, nine oh five, twelve P M, twelve fifteen A M, midnight",
    ),
    ("May 3, 2024", "May third, twenty twenty-four"),
    ("on Jan. 5th and 3 May 1999", "on January fifth and the third of May, nineteen ninety-nine"),
    ("2024-05-03", "May third, twenty twenty-four"),
    ("5/3/2024", "May third, twenty twenty-four"),
    ("in 1905 or the 1990s", "in nineteen oh-five or the nineteen nineties"),
    ("555-123-4567", "five five five, one two three, four five six seven"),
    ("+1 (555) 123-4567", "plus one, five five five, one two three, four five six seven"),
    ("call 555-1234 or 911", "call five five five, one two three four or nine hundred and eleven"),
    ("dial 911", "dial nine one one"),
    ("your code is 4321, ext. 12", "your code is four three two one, extension one two"),
    ("order 123456789", "order one two three four five six seven eight nine"),
    ("5%, 3.5 %, 50%-60%", "five percent, three point five percent, fifty to sixty percent"),
    ("1,234,567.05", "one million two hundred and thirty-four thousand five hundred and sixty-seven point zero five"),
    ("3.50 and 0.5 and -7", "three point five zero and zero point five and minus seven"),
    ("1st, 22nd, 103rd", "first, twenty-second, one hundred and third"),
    ("5 km, 1 hr, 10kg, -3 \u00b0C", "five kilometers, one hour, ten kilograms, minus three degrees Celsius"),
    ("2-3 GB, 9\u20135, 10 - 20 people", "two to three gigabytes, nine to five, ten to twenty people"),
    ("24/7, 1/2, 2 1/2, 3\u00be hours", "twenty-four seven, a half, two and a half, three and three quarters hours"),
    ("#5, No. 7, ~10", "number five, number seven, about ten"),
    ("version 3.11.7", "version three dot eleven dot seven"),
    ("agent 007 has an A4 paper", "agent zero zero seven has an A4 paper"),
    ("3 * 4 = 12 and 5 + 3", "three times four equals twelve and five plus three"),
    ("1. Open the door.", "one, Open the door."),
]
SHORTHAND = [
    ("Ask for our FAQ, PDFs or the ATM", "Ask for our F A Q, P D Fs or the A T M"),
    ("NASA is FREE, OK?", "Nasa is Free, OK?"),
    ("the U.S. market", "the U S market"),
    ("Fruit, e.g. apples & pears, etc.", "Fruit, for example apples and pears, et cetera"),
    ("Dr. Lee on Main St. vs. St. James", "Doctor Lee on Main Street versus Saint James"),
]


@pytest.mark.parametrize(("written", "spoken"), [*MARKUP, *ADDRESSES, *NUMBERS, *SHORTHAND])
def test_english(written: str, spoken: str) -> None:
    assert Spoken("en-US").clean(written) == spoken


@pytest.mark.parametrize(
    ("language", "written", "spoken"),
    [
        ("en-GB", "on 5/3/2024", "on March fifth, twenty twenty-four"),
        ("de-DE", "**Mail** an info@example.de: 3,50 Euro", "Mail an info at example Punkt de: 3,50 Euro"),
        ("fr-FR", "Voir https://exemple.fr/aide.", "Voir exemple point fr barre oblique aide."),
        ("ja-JP", "**\u306f\u3044** https://example.com/a", "\u306f\u3044 example.com/a"),
    ],
)  # fmt: skip
def test_other_languages_leave_numbers_to_the_voice(language: str, written: str, spoken: str) -> None:
    assert Spoken(language).clean(written) == spoken


def test_code_between_fences_is_not_read_out() -> None:
    spoken = Spoken()
    clauses = ["Run this:", "```python", "print(1)", "x = 2", "```", "Then wait."]
    assert [spoken.clean(clause) for clause in clauses] == ["Run this:", "", "", "", "", "Then wait."]
    assert Spoken().clean("Run ```x = 1``` now") == "Run now"


def test_a_table_is_read_row_by_row() -> None:
    spoken = Spoken()
    rows = ["| Day | Open |", "| --- | --- |", "| Monday | 9-5 |"]
    assert [spoken.clean(row) for row in rows] == ["Day, Open", "", "Monday, nine to five"]


def test_a_reader_gets_figures_a_voice_gets_words() -> None:
    assert Spoken().plain("**It** costs $3.50 \U0001f600") == "It costs $3.50"


@given(st.text(max_size=150), st.sampled_from(["en-US", "en-GB", "de-DE", "zz", ""]))
def test_any_text_is_taken(text: str, language: str) -> None:
    Spoken(language).clean(text)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *"0123456789",
            *"0123456789",
            *".,:;-/$%*#|`~()[]<>+=@_&' ",
            " a.m.",
            " PM",
            "th",
            "km",
            "May ",
            "\u20ac",
            "ext. ",
        ]
    ),
    max_size=40,
)


@given(FRAGMENTS)
def test_any_figures_are_taken(fragments: list[str]) -> None:
    Spoken("en-US").clean("".join(fragments))


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=30), st.sampled_from(["en-US", "fr-FR"]))
def test_no_word_is_lost(words: list[str], language: str) -> None:
    text = ", ".join(words)
    splitter = ClauseSplitter(language)
    spoken = Spoken(language)
    said = " ".join(spoken.clean(clause) for clause in [*splitter.feed(text), *splitter.flush()])
    assert re.findall(r"\w+", said) == words


@given(st.integers(-(10**14), 10**14), st.sampled_from(["", "%", " km", "th", " USD", " people"]))
def test_no_figure_is_left(value: int, unit: str) -> None:
    assert not re.search(r"\d", Spoken("en-US").clean(f"It is {value:,}{unit} now"))
