"""A call whose sound fails: at its start, in its middle, in one voice and the other."""

import asyncio

from ai_engine.call.actions import EndReason
from ai_engine.call.events import (
    DigitsAsked,
    FellBack,
    MediaAttached,
    MediaLost,
    PlaybackEnded,
    PlayoutFailed,
    ReplyCut,
    ToolAsked,
)
from ai_engine.errors import AsteriskError, PeerError
from ai_engine.session.media_path import Downstream, Way, ways
from tests.fakes.call_parts import FakeMedia, FakeTransport, ScriptedAgent, stream_over
from tests.fakes.one_call import Call, place

SENTENCE_MS = 2000


def test_streams_come_first_or_files_and_files_only_where_they_can_be_put() -> None:
    one, two = FakeTransport(name="one"), FakeTransport(name="two")
    names = [str(way) for way in ways([one, two], Downstream.STREAM, files=True)]
    assert names == ["one/stream", "two/stream", "one/file", "two/file"]
    names = [str(way) for way in ways([one, two], Downstream.FILE, files=True)]
    assert names == ["one/file", "two/file", "one/stream", "two/stream"]
    assert [str(way) for way in ways([one], Downstream.FILE, files=False)] == ["one/stream"]


def test_a_call_begins_over_the_first_transport_that_works() -> None:
    media = FakeMedia()
    refused = FakeTransport(PeerError("refused"), name="refused")
    silent = FakeTransport(None, name="silent")
    good = FakeTransport(media, name="good")

    async def story(call: Call) -> None:
        await asyncio.sleep(3.1)
        await media.run(1000)
        assert media.heard_ms() == 400

    call = place(story, ways=stream_over(refused, silent, good))
    assert [event.failed for event in call.witness.saw(FellBack) if isinstance(event, FellBack)] == [
        "refused/stream",
        "silent/stream",
    ]
    assert call.witness.saw(MediaAttached) == [MediaAttached("good/stream")]
    assert call.control.done.count("drop_leg") == 2
    assert refused.withdrawn
    assert silent.withdrawn


def test_when_no_transport_works_the_caller_reaches_a_human() -> None:
    async def story(call: Call) -> None:
        call.control.fails["create_leg one"] = AsteriskError("no such module", 500)
        assert await call.reason() is EndReason.RESCUED

    call = place(story, ways=stream_over(FakeTransport(FakeMedia(), name="one"), FakeTransport(None, name="two")))
    assert "transfer offhook,human" in call.control.done


def test_a_stream_that_is_lost_goes_on_as_a_file_where_it_was() -> None:
    first, second = FakeMedia(), FakeMedia()
    transport = FakeTransport(first, second)

    async def story(call: Call) -> None:
        await first.run(1000)
        assert first.line is not None
        first.line.media_lost("reset")
        call.control.tell(MediaLost("the media leg left Asterisk"))  # the same loss, from the other side
        await asyncio.sleep(0.1)
        assert second.line is not None
        await second.run(200)
        [(uri, pcm)] = call.store.sounds.items()
        assert len(pcm) == (SENTENCE_MS - first.heard_ms()) * 16, "sound was lost, or said twice"
        assert call.control.done[-1] == f"play {uri}"
        assert not any(second.sent), "the leg that only listens was spoken to"
        await second.run(1000)
        call.control.tell(PlaybackEnded(call.control.playing[0]))
        await second.run(60)
        assert call.store.sounds == {}

    call = place(
        story,
        ScriptedAgent(("Hello.", SENTENCE_MS)),
        ways=[Way(transport, Downstream.STREAM), Way(transport, Downstream.FILE)],
    )
    assert len(call.witness.saw(FellBack)) == 1
    assert [event.transport for event in call.witness.saw(MediaAttached) if isinstance(event, MediaAttached)] == [
        "fake/stream",
        "fake/file",
    ]
    assert call.control.done.count("drop_leg") == 1
    assert not call.witness.saw(ReplyCut)
    assert not call.session.transcript.utterances[0].cut


def test_a_full_disk_turns_files_into_a_stream() -> None:
    first, second = FakeMedia(), FakeMedia()
    transport = FakeTransport(first, second)

    async def story(call: Call) -> None:
        call.store.full = True
        await first.run(300)
        await second.run(SENTENCE_MS + 300)
        assert second.heard_ms() == SENTENCE_MS

    call = place(
        story,
        ScriptedAgent(("Hello.", SENTENCE_MS)),
        ways=[Way(transport, Downstream.FILE), Way(transport, Downstream.STREAM)],
    )
    assert len(call.witness.saw(PlayoutFailed)) == 1


def test_sentences_are_played_one_by_one_as_files_and_can_be_interrupted() -> None:
    media = FakeMedia()

    async def story(call: Call) -> None:
        await media.run(1000)
        assert call.control.done[-1].startswith("play ")
        await media.run(700, b"\x10\x27" * 160)
        await media.run(60)
        assert "pause" in call.control.done
        assert "stop" in call.control.done
        assert call.store.sounds == {}
        [cut] = call.witness.saw(ReplyCut)
        assert isinstance(cut, ReplyCut)
        assert 900 <= cut.heard_ms <= 1140

    place(story, ScriptedAgent(("one two three four", SENTENCE_MS)), ways=[Way(FakeTransport(media), Downstream.FILE)])


def test_a_tool_presses_keys_and_bad_keys_are_refused() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ToolAsked("t1", "send_dtmf", {"digits": "12#"}))
        call.agent.tell(ToolAsked("t2", "send_dtmf", {"digits": "1; rm"}))
        await call.quiet(100)
        assert call.agent.told[-2:] == ["tool t1 True", "tool t2 False"]
        assert "send_digits 12#" in call.control.done

    assert place(story).witness.saw(DigitsAsked) == [DigitsAsked("12#")]
