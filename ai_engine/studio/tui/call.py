"""One call as it goes on: what is said, how loud it is, and how long answers take."""

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.dom import DOMNode

from ai_engine.studio.tui.bars import lasted, meter, sparkline, took, waterfall
from ai_engine.studio.tui.board import Said, Turn, Watched
from ai_engine.studio.tui.frame import Framed, studio_of
from ai_engine.studio.tui.words import Words
from ai_engine.switchboard.models import LiveCall

_METER = 40
_SPARK = 24


class CallVerbs(DOMNode):
    """What can be done with a call; whoever has them says with which."""

    BINDINGS = [
        Binding("h", "hang_up", "Hang up"),
        Binding("t", "transfer", "Transfer"),
        Binding("l", "listen", "Listen"),
        Binding("w", "whisper", "Whisper"),
        Binding("g", "log", "Log", show=False),
    ]

    def this_call(self) -> LiveCall | None:
        raise NotImplementedError

    def action_hang_up(self) -> None:
        if call := self._chosen():
            studio_of(self).start_verb(studio_of(self).verbs.hang_up(call))

    def action_transfer(self) -> None:
        if call := self._chosen():
            studio_of(self).start_verb(studio_of(self).verbs.transfer(call))

    def action_listen(self) -> None:
        if call := self._chosen():
            studio_of(self).start_verb(studio_of(self).verbs.listen(call))

    def action_whisper(self) -> None:
        if call := self._chosen():
            studio_of(self).start_verb(studio_of(self).verbs.whisper(call))

    def action_log(self) -> None:
        if call := self._chosen():
            studio_of(self).show_log(call.call_id)

    def _chosen(self) -> LiveCall | None:
        call = self.this_call()
        if call is None:
            studio_of(self).tell("There is no call to do that with.", bad=True)
        return call


class Spoken(VerticalScroll):
    """The transcript: the latest is in sight until one scrolls back."""

    BINDINGS = [
        Binding("left", "screen.turn(-1)", "Turn", key_display="←→"),
        Binding("right", "screen.turn(1)", "Next turn", show=False),
    ]


class CallScreen(CallVerbs, Framed):
    """Stays when the call ends, so that its last words can be read."""

    BINDINGS = [
        Binding("escape", "app.pop_screen", "Back"),
        Binding("g", "log", "Log"),
    ]

    def __init__(self, call_id: str) -> None:
        super().__init__()
        self._call_id = call_id
        self._back = 0
        """How many turns before the last one the waterfall shows."""

    def compose(self) -> ComposeResult:
        yield Words(id="facts")
        with Container(id="call"):
            with Spoken(id="spoken"):
                yield Words(id="transcript")
            with Container(id="measures"):
                yield Words(id="levels")
                yield Words(id="waterfall")
        yield from self.frame()

    def on_mount(self) -> None:
        self.query_one("#spoken").focus()
        self.query_one("#spoken", Spoken).anchor()

    def this_call(self) -> LiveCall | None:
        watched = self._watched()
        return watched.call if watched and not watched.ended else None

    def action_turn(self, step: int) -> None:
        watched = self._watched()
        self._back = max(0, min(self._back - step, len(watched.turns) - 1 if watched else 0))
        studio_of(self).paint()

    def paint(self, now: datetime) -> None:
        super().paint(now)
        watched = self._watched()
        if watched is None:
            return
        self.query_one("#facts", Words).say(_facts(watched, now))
        self.query_one("#transcript", Words).say(_transcript(watched.said, watched.ended))
        self.query_one("#levels", Words).say(_levels(watched))
        self.query_one("#waterfall", Words).say(self._turns(list(watched.turns)))

    def _watched(self) -> Watched | None:
        return studio_of(self).board.find(self._call_id)

    def _turns(self, turns: Sequence[Turn]) -> str:
        if not turns:
            return "No turn yet: it takes a question and an answer."
        index = max(0, len(turns) - 1 - self._back)
        turn = turns[index]
        width = self.query_one("#waterfall").content_size.width
        title = f"turn {index + 1} of {len(turns)}  {took(turn.ms)}  {sparkline([t.ms for t in turns], _SPARK)}"
        return "\n".join([title, *waterfall(turn.marks, width)])


def _facts(watched: Watched, now: datetime) -> str:
    call = watched.call
    where = {"inbound": "from", "outbound": "to", "room": "in"}[call.direction]
    clock = lasted((now - (call.answered_at or call.since)).total_seconds())
    state = f"ended: {watched.ended}" if watched.ended else f"{call.state} {clock}"
    first = f"{call.agent} {where} {call.number or call.room}   {state}   floor: {call.floor or '–'}"
    rest = (("our number", call.did), ("room", call.room), ("provider", call.provider), ("channel", call.channel))
    return first + "\n" + "   ".join([f"call {call.call_id}", *(f"{name} {value}" for name, value in rest if value)])


def _transcript(said: Sequence[Said], ended: str) -> Text:
    text = Text()
    for line in said:
        text.append(f"{line.who:>7}: ", "bold")
        text.append(line.text if line.final else f"{line.text} …", "" if line.final else "dim italic")
        text.append(" — (interrupted)" if line.cut else "", "dim")
        text.append("\n")
    if not said:
        text.append("Nothing was said since you look.\n", "dim")
    if ended:
        text.append(f"— ended: {ended} —", "bold")
    text.rstrip()
    return text


def _levels(watched: Watched) -> str:
    pairs = (("caller", watched.caller_dbfs), ("agent", watched.agent_dbfs))
    return "\n".join(f"{name:<7}{meter(dbfs, _METER)} {max(dbfs, -96):4.0f} dBFS" for name, dbfs in pairs)
