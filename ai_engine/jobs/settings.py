"""What the `call_agent` section of the file may say."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.status import normal
from ai_engine.jobs.times import ClockTime, Zone
from ai_engine.settings import Host, HttpUrl, ListenPort, Network, Seconds, Section, WebSocketUrl, Word

Day = Annotated[int, Field(ge=0, le=6)]
AudioType = Literal["audio/pcmu", "audio/pcma", "audio/pcm"]


def _dial_string(text: str) -> str:
    if "{number}" not in text or "/" not in text:
        raise ValueError("must be a dial string with {number} in it, like PJSIP/{number}@trunk")
    return text


class Telephony(Section):
    """The telephone network."""

    provider: Literal["asterisk", "twilio", "mock"] = "twilio"
    """`asterisk`: our own PBX; `twilio`; `mock`: a page in the browser."""


class Server(Section):
    """The HTTP server for the API, MCP, webhooks and media streams."""

    host: Host = "127.0.0.1"
    """Address to listen on."""
    port: ListenPort = 4545
    """TCP port; 0 takes any free one."""
    public_base_url: HttpUrl | None = None
    """Where the outside reaches this server; without it a tunnel is opened where one is needed."""
    trusted_proxies: tuple[Network, ...] = ()
    """Peers whose X-Forwarded-Proto and X-Forwarded-Host count."""
    allowed_hosts: tuple[Host, ...] = ()
    """Names under which a trusted proxy may say it was reached, beside that of `public_base_url`."""
    body_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 256 * 1024
    """The largest request body that is read."""
    pending_streams: Annotated[int, Field(ge=1)] = 32
    """Media sockets that have not yet said which call they belong to."""
    pending_streams_per_address: Annotated[int, Field(ge=1)] = 4
    """The same, from one address."""
    streams: Annotated[int, Field(ge=1)] = 128
    """Media sockets in all."""
    start_seconds: Seconds = 5.0
    """How long a media socket may take to say which call it belongs to."""


class Trunk(Section):
    """A way out of Asterisk."""

    dial: Annotated[str, AfterValidator(_dial_string)]
    """The dial string: `PJSIP/{number}@trunk`, `Local/{number}@from-internal`."""
    caller_id: str = ""
    """The number calls come from; one that the trunk owns, or its carrier may refuse them."""
    calls: Annotated[int, Field(ge=1, le=1000)] = 1
    """At the same time; further ones wait."""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Dialled within a minute; further ones wait."""
    headers: Mapping[Word, str] = {}
    """SIP headers that are added to the INVITE."""


class AsteriskTelephony(Section):
    """Calls placed by our own Asterisk."""

    trunks: Mapping[Word, Trunk] = {}
    """The ways out, by name; the first one is used where a request names none."""
    answering_machine: bool = False
    """Find out with Asterisk's AMD() whether a person answered: needs app_amd and the context below. The person who
    answers hears nothing for about two seconds meanwhile."""
    answering_machine_context: Word = "offhook-amd"
    """Where the dialplan does that (docs/snippets)."""


class Twilio(Section):
    """Calls placed by Twilio."""

    account_sid: str = ""
    auth_token: SecretStr = SecretStr("")
    """From the environment: TWILIO_AUTH_TOKEN."""
    from_number: str = ""
    """A number of the account, E.164."""
    validate_signature: bool = True
    """False lets anybody call our webhooks; for trials only."""
    signature_key: SecretStr = SecretStr("")
    """The key of the newer SHA-256 signatures, from the environment: TWILIO_SIGNATURE_KEY. Empty: the auth token."""
    api_base_url: HttpUrl = "https://api.twilio.com"
    answering_machine: bool = False
    """Let Twilio find out whether a person answered (billed by call)."""
    calls: Annotated[int, Field(ge=1, le=1000)] = 1
    """At the same time; further ones wait."""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None


class Mock(Section):
    """Calls to a page in the browser."""

    enabled: bool | None = None
    """Says nothing: `telephony.provider` decides."""
    calls: Annotated[int, Field(ge=1, le=1000)] = 4
    """At the same time; further ones wait."""


class OpenAI(Section):
    """The OpenAI Realtime session of the agent, where it has a key; else the agent's own provider is used."""

    api_key: SecretStr = SecretStr("")
    """From the environment: OPENAI_API_KEY."""
    model: str = "gpt-4o-realtime-preview"
    voice: str = "alloy"
    input_format: AudioType = "audio/pcmu"
    output_format: AudioType = "audio/pcm"
    output_sample_rate: Literal[24000] = 24000
    """Of `audio/pcm`; OpenAI takes no other."""
    base_url: WebSocketUrl | HttpUrl | None = None
    """Another server that speaks the protocol."""


class CalendarSettings(Section):
    """The calendar bridge."""

    base_url: HttpUrl | None = None
    """A bridge of your own, like http://127.0.0.1:9100; without it the engine's own is used."""
    token: SecretStr = SecretStr("")
    """From the environment: CALENDAR_TOKEN."""
    timeout_seconds: Seconds = 4.0
    """How long a request may take."""
    directory: Annotated[Path, Field(strict=False)] = Path("var/calendar")
    """Where the engine's own bridge keeps its store and its .ics files."""
    host: Host = "127.0.0.1"
    port: ListenPort | None = None
    """Serve the engine's own bridge over HTTP, too (9100 by custom)."""
    buffer_before_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    """Kept free before an appointment."""
    buffer_after_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    granularity_minutes: Annotated[int, Field(ge=1, le=24 * 60)] | None = None
    """Distance of the times that are offered; absent means the length of the appointment."""
    hold_seconds: Seconds = 180.0
    """How long a time that was checked is kept for the caller who is asked about it."""
    window_days: Annotated[int, Field(ge=1, le=366)] = 14
    """How far ahead appointments are offered where nobody says."""
    import_urls: tuple[str, ...] = ()
    """Calendars elsewhere whose appointments count as busy: URLs or paths of .ics files, `caldav://…` or `caldavs://…`.
    User and password of `NAME@host` come from the environment: CALDAV_NAME_USER and CALDAV_NAME_PASSWORD."""
    import_seconds: Annotated[float, Field(ge=10, le=24 * 3600)] = 300.0
    """How often they are read."""


class Notify(Section):
    """Whom we tell how a call ended."""

    hooks_url: HttpUrl | None = None
    """`/agent` below it is posted to."""
    hooks_token: SecretStr = SecretStr("")
    """From the environment: NOTIFY_HOOKS_TOKEN. Without it nobody is told."""
    session_key: str | None = None
    on_failure: bool = False
    """Tell of calls that came to nothing in the end, too."""


class Defaults(Section):
    """What a request is given that does not say."""

    timezone: Zone | None = None
    """IANA time zone; absent means that of the machine."""
    working_hours: WorkingHours = WorkingHours()


class Retry(Section):
    """Which calls are dialled again, and when."""

    max_attempts: Annotated[int, Field(ge=1, le=50)] = 3
    """Dials in all."""
    initial_delay_ms: Annotated[int, Field(ge=0)] = 60_000
    backoff_factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Each further delay is so many times as long."""
    max_delay_ms: Annotated[int, Field(ge=0)] = 3_600_000
    """The longest."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Part of a delay by which it may be longer or shorter, at random."""
    retry_statuses: tuple[str, ...] = ("busy", "no_answer", "failed")
    """`busy`, `no_answer` (or `no-answer`), `failed`."""

    @property
    def statuses(self) -> frozenset[str]:
        return frozenset(map(normal, self.retry_statuses))


class Tunnel(Section):
    """How the outside reaches us where there is no `server.public_base_url`."""

    provider: Literal["auto", "ngrok", "tailscale", "none"] = "auto"
    """`auto`: ngrok, else tailscale, whichever is installed."""
    start_seconds: Seconds = 5.0


class CallingWindow(Section):
    """When people may be called, in the time zone of the call."""

    start: ClockTime = "08:00"
    end: ClockTime = "21:00"
    days: tuple[Day, ...] = (0, 1, 2, 3, 4, 5, 6)
    """0 is Sunday."""
    except_on: Annotated[tuple[date, ...], Field(strict=False)] = ()
    """Days on which nobody is called."""


class Voicemail(Section):
    """What is done when an answering machine answers."""

    action: Literal["hang_up", "leave_message"] = "hang_up"
    message: str = "Hello, this is an automated call for {callee}. We will try again later. Goodbye."
    """What is left; `{goal}`, `{callee}`, `{user}` and the other facts of the call may stand in it."""


class Manners(Section):
    """How we behave towards people we call."""

    ring_seconds: Seconds = 30.0
    """How long it may ring."""
    max_seconds: Annotated[float, Field(gt=0, le=4 * 3600)] = 300.0
    """How long a conversation may last."""
    stale_seconds: Annotated[float, Field(ge=0)] = 120.0
    """A call that is neither answered nor over after so long is ended; 0: never."""
    windows: tuple[CallingWindow, ...] = (CallingWindow(),)
    """When people may be called; an empty list: at any time."""
    do_not_call: tuple[str, ...] = ()
    """Numbers that are never called."""
    do_not_call_file: Annotated[Path, Field(strict=False)] | None = None
    """More of them, a line each; read anew when it changes."""
    allowed_prefixes: tuple[str, ...] = ()
    """Only numbers that begin so are called: `+1`, `+49`. An empty list allows every number."""
    calls_per_hour: Annotated[int, Field(ge=1)] = 60
    """Dials within an hour, over all trunks; what is beyond waits. A stolen token should not be worth much."""
    disclosure: str = "I am an automated assistant, and this call may be recorded."
    """Said at the beginning of each outbound call; empty for nothing, where the law of the place allows that."""
    voicemail: Voicemail = Voicemail()
    callbacks: Literal["ordinary", "resume", "reject"] = "ordinary"
    """Somebody we called calls back: `ordinary` treats them like everybody, `resume` gives them the agent who called
    them, with what it knew, `reject` hands them to the human at once."""
    callback_hours: Annotated[float, Field(gt=0)] = 72.0
    """How long we remember whom we called."""


class Store(Section):
    """Where calls are remembered."""

    path: Annotated[Path, Field(strict=False)] = Path("var/call-agent.sqlite")
    """An SQLite file; CALL_AGENT_DATABASE_URL names a PostgreSQL instead, which several engines may share."""
    database_url: SecretStr = SecretStr("")
    """From the environment: CALL_AGENT_DATABASE_URL, like postgresql://user:password@host/offhook."""
    engine_name: Word | None = None
    """Of this engine among those that share a database; absent means the name of the machine."""
    keep_days: Annotated[int, Field(ge=1)] = 90
    """How long settled calls are remembered."""


class CallAgentSettings(Section):
    """Calls that the engine places, and appointments it makes."""

    enabled: bool = True
    agent: Word | None = None
    """The agent who talks where a request names none; absent means `default_agent`."""
    tokens: tuple[SecretStr, ...] = ()
    """Bearer tokens of those who may ask for calls, from the environment: CALL_AGENT_TOKEN, several with commas.
    Without one, the API takes requests from this machine only."""
    telephony: Telephony = Telephony()
    server: Server = Server()
    asterisk: AsteriskTelephony = AsteriskTelephony()
    twilio: Twilio = Twilio()
    mock: Mock = Mock()
    openai: OpenAI = OpenAI()
    calendar: CalendarSettings = CalendarSettings()
    notify: Notify = Notify()
    defaults: Defaults = Defaults()
    retry: Retry = Retry()
    tunnel: Tunnel = Tunnel()
    manners: Manners = Manners()
    store: Store = Store()

    def contradictions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Values that are right alone and wrong together: where, and what to do."""
        for index, word in enumerate(self.retry.retry_statuses):
            if normal(word) not in ("busy", "no_answer", "failed"):
                yield ("retry", "retry_statuses", index), f"{word!r} is none of busy, no_answer, failed"
        provider = self.telephony.provider
        if provider == "asterisk" and not self.asterisk.trunks:
            yield (
                ("asterisk", "trunks"),
                "provider asterisk needs a way out: {main: {dial: 'PJSIP/{number}@trunk'}}",
            )
        if provider == "twilio" and self.enabled:
            for name in ("account_sid", "from_number"):
                if not getattr(self.twilio, name):
                    yield ("twilio", name), "needed, since telephony.provider is twilio"
