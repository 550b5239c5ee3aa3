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
    ReplyAudio,
    ReplyBegan,
    ReplyCut,
    ReplyEnded,
    ReplyId,
    ToolAsked,
)
from ai_engine.call.turns import Floor
from ai_engine.errors import AsteriskError, PeerError
from ai_engine.session.media_path import Downstream, Way, ways
from ai_engine.session.settings import SessionSettings
from tests.fakes.call_parts import VOICE, FakeMedia, FakeTransport, ScriptedAgent, stream_over
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


def test_an_agent_is_told_of_keys_that_could_not_be_pressed() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.control.fails["send_digits 1"] = AsteriskError("it is away")
        call.agent.tell(ToolAsked("t1", "send_dtmf", {"digits": "1"}))
        await call.quiet(100)
        assert call.agent.told[-1] == "tool t1 False"

    call = place(story)
    assert "it is away" in call.session.transcript.utterances[-1].text


def test_a_file_that_ends_just_as_the_agent_is_held_does_not_silence_the_call_for_good() -> None:
    media = FakeMedia()

    async def story(call: Call) -> None:
        await media.run(300)
        playback = call.control.playing[0]
        await media.run(120, VOICE)
        assert call.session.floor is Floor.CONTESTED
        call.control.tell(PlaybackEnded(playback))  # it was over before the pause took hold
        await media.run(30_000)
        assert "nudge" in call.agent.told

    place(
        story,
        ScriptedAgent(("Hello.", 400), ("Still there?", 400)),
        ways=[Way(FakeTransport(media), Downstream.FILE)],
    )


def test_a_disk_that_fills_while_another_way_is_sought_is_not_forgotten() -> None:
    first, second, third = FakeMedia(), FakeMedia(), FakeMedia()
    one, two = FakeTransport(first, third, name="one"), FakeTransport(second, name="two")

    async def story(call: Call) -> None:
        await first.run(100)
        call.control.tell(PlaybackEnded(call.control.playing[0]))
        await first.run(400)
        call.store.full = True
        assert first.line is not None
        first.line.media_lost("reset")
        first.closed = True
        call.agent.reply("More.", 400)
        await asyncio.sleep(0.2)
        await (second if third.line is None else third).run(300)
        await third.run(1000)
        assert third.heard_ms() == 400

    place(
        story,
        ScriptedAgent(("Hello there.", 400)),
        ways=[Way(one, Downstream.FILE), Way(two, Downstream.FILE), Way(one, Downstream.STREAM)],
    )


def test_after_a_loss_the_other_transport_comes_first() -> None:
    first, second = FakeMedia(), FakeMedia()
    one, two = FakeTransport(first, None, name="one"), FakeTransport(second, name="two")

    async def story(call: Call) -> None:
        await first.run(200)
        assert first.line is not None
        first.line.media_lost("reset")
        first.closed = True
        await asyncio.sleep(0.1)
        assert second.line is not None

    call = place(story, ways=ways([one, two], Downstream.STREAM, files=True))
    assert call.witness.saw(MediaAttached)[-1] == MediaAttached("two/file")


def test_one_slow_request_does_not_let_the_dead_man_switch_fire() -> None:
    async def story(call: Call) -> None:
        loop = asyncio.get_running_loop()
        kept: list[float] = []
        asked = 0

        async def keep_alive(seconds: int) -> None:
            nonlocal asked
            asked += 1
            if asked == 2:
                await asyncio.sleep(5.0)
                raise AsteriskError("no answer in time")
            kept.append(loop.time())

        call.control.keep_alive = keep_alive  # type: ignore[method-assign]
        await call.quiet(40_000)
        assert max(later - earlier for earlier, later in zip(kept, kept[1:], strict=False)) < 15 - 2

    place(story, settings=SessionSettings(level=None, no_input_seconds=60.0))


def test_half_a_sample_of_a_refused_reply_does_not_ruin_the_next() -> None:
    async def story(call: Call) -> None:
        await call.quiet(100)
        call.agent.tell(ReplyBegan(ReplyId(5)))
        await call.quiet(20)
        call.agent.tell(ReplyAudio(ReplyId(1), VOICE * 3 + b"\0"))
        call.agent.tell(ReplyAudio(ReplyId(5), b"\x00\x10" * 160 * 50))
        call.agent.tell(ReplyEnded(ReplyId(5)))
        await call.quiet(1500)
        loudest = max(abs(sample) for frame in call.media.sent if frame for sample in memoryview(frame).cast("h"))
        assert loudest > 1000

    place(story, ScriptedAgent(), settings=SessionSettings())
