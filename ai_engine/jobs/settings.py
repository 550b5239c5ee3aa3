"""What the `call_agent` section of the file may say."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic.json_schema import SkipJsonSchema

from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.status import normal
from ai_engine.jobs.times import ClockTime, Zone
from ai_engine.settings import Host, HttpUrl, ListenPort, Network, Seconds, Section, Word

Day = Annotated[int, Field(ge=0, le=6)]
AudioType = Literal["audio/pcmu", "audio/pcma", "audio/pcm"]
Secret = SkipJsonSchema[SecretStr]
"""Comes from the environment or from a JSON file of one's own: the schema of the shared file does not know it."""
E164 = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
"""A telephone number as the whole world dials it: `+14155550123`."""
RealtimeUrl = Annotated[str, Field(pattern=r"^(ws|http)s?://[^\s/@]+(/\S*)?$")]


def _dial_string(text: str) -> str:
    if "{number}" not in text or "/" not in text:
        raise ValueError("must be a dial string with {number} in it, like PJSIP/{number}@trunk")
    return text


def _calendar_url(text: str) -> str:
    if urlsplit(text).password is not None:
        raise ValueError("a password does not belong here; write caldavs://NAME@host, and CALDAV_NAME_PASSWORD in .env")
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
    """`AC…`."""
    auth_token: Secret = SecretStr("")
    """From the environment: TWILIO_AUTH_TOKEN."""
    from_number: str = ""
    """A number of the account, E.164."""
    human_number: E164 | None = None
    """Who takes over a call in which a person is asked for, or in which the agent fails. Without it nobody can: the
    agent is told so, or the callee hears an apology."""
    validate_signature: bool = True
    """False lets anybody call our webhooks; for trials only."""
    signature_key: Secret = SecretStr("")
    """The key of the newer SHA-256 signatures, from the environment: TWILIO_SIGNATURE_KEY. Empty: the auth token."""
    api_base_url: HttpUrl = "https://api.twilio.com"
    """Another server that speaks the protocol."""
    answering_machine: bool = False
    """Let Twilio find out whether a person answered (billed by call)."""
    calls: Annotated[int, Field(ge=1, le=1000)] = 1
    """At the same time; further ones wait."""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Dialled within a minute; further ones wait."""


class Mock(Section):
    """Calls to a page in the browser."""

    enabled: bool | None = None
    """Says nothing: `telephony.provider` decides."""
    calls: Annotated[int, Field(ge=1, le=1000)] = 4
    """At the same time; further ones wait."""


class OpenAI(Section):
    """The OpenAI Realtime session of the agent, where it has a key; else the agent's own provider is used."""

    api_key: Secret = SecretStr("")
    """From the environment: OPENAI_API_KEY, which counts here only where the file has this section."""
    model: str = "gpt-4o-realtime-preview"
    """The speech-to-speech model; gpt-realtime is the one that is no preview."""
    voice: str = "alloy"
    """Who speaks."""
    input_format: AudioType = "audio/pcmu"
    """How the callee's sound travels: G.711 as on the telephone, or `audio/pcm` at 24 kHz."""
    output_format: AudioType = "audio/pcm"
    """How the agent's sound travels; `audio/pcmu` is a sixth of `audio/pcm`, and all that a telephone carries."""
    output_sample_rate: Literal[24000] = 24000
    """Of `audio/pcm`; OpenAI takes no other."""
    base_url: RealtimeUrl | None = None
    """Another server that speaks the protocol."""


class Login(Section):
    """At a calendar elsewhere."""

    user: str
    password: Secret


def login_name(url: str) -> str:
    """``NAME`` of `caldavs://NAME@host/path`; empty where nobody needs to log in."""
    return (urlsplit(url).username or "") if "://" in url else ""


class CalendarSettings(Section):
    """The calendar bridge."""

    base_url: HttpUrl | None = None
    """A bridge of your own, like http://127.0.0.1:9100; without it the engine's own is used."""
    token: Secret = SecretStr("")
    """From the environment: CALENDAR_TOKEN."""
    timeout_seconds: Seconds = 4.0
    """How long a request may take."""
    directory: Annotated[Path, Field(strict=False)] = Path("var/calendar")
    """Where the engine's own bridge keeps its store and its .ics files."""
    host: Host = "127.0.0.1"
    """Where `port` listens."""
    port: ListenPort | None = None
    """Serve the engine's own bridge over HTTP, too (9100 by custom)."""
    buffer_before_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    """Kept free before an appointment."""
    buffer_after_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    """And after it."""
    granularity_minutes: Annotated[int, Field(ge=1, le=24 * 60)] | None = None
    """Distance of the times that are offered; absent means the length of the appointment."""
    hold_seconds: Seconds = 180.0
    """How long a time that was checked is kept for the caller who is asked about it."""
    window_days: Annotated[int, Field(ge=1, le=366)] = 14
    """How far ahead appointments are offered where nobody says."""
    import_urls: tuple[Annotated[str, AfterValidator(_calendar_url)], ...] = ()
    """Calendars elsewhere whose appointments count as busy: URLs or paths of .ics files, `caldav://…` or `caldavs://…`.
    User and password of `NAME@host` come from the environment: CALDAV_NAME_USER and CALDAV_NAME_PASSWORD."""
    import_seconds: Annotated[float, Field(ge=10, le=24 * 3600)] = 300.0
    """How often they are read."""
    logins: SkipJsonSchema[Mapping[str, Login]] = {}
    """Of calendars elsewhere, by the NAME in their URL."""

    @property
    def login_names(self) -> tuple[tuple[int, str], ...]:
        """Where in `import_urls` a login is named, and its name."""
        return tuple((at, name) for at, url in enumerate(self.import_urls) if (name := login_name(url)))


class Notify(Section):
    """Whom we tell how a call ended."""

    hooks_url: HttpUrl | None = None
    """`/agent` below it is posted to."""
    hooks_token: Secret = SecretStr("")
    """From the environment: NOTIFY_HOOKS_TOKEN. Without it nobody is told."""
    session_key: str | None = None
    """Which of the receiver's sessions is told; absent: it chooses. Some refuse to have it chosen for them."""
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
    """Until it is dialled for the second time."""
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
    """How long opening it may take."""


class CallingWindow(Section):
    """When people may be called, in the time zone of the call."""

    start: ClockTime = "08:00"
    """`HH:MM`."""
    end: ClockTime = "21:00"
    """`HH:MM`; `24:00` is midnight. Before `start`: the window goes past midnight."""
    days: tuple[Day, ...] = (0, 1, 2, 3, 4, 5, 6)
    """0 is Sunday."""
    except_on: Annotated[tuple[date, ...], Field(strict=False)] = ()
    """Days on which nobody is called."""


class Voicemail(Section):
    """What is done when an answering machine answers."""

    action: Literal["hang_up", "leave_message"] = "hang_up"
    """`leave_message` says `message` after the tone."""
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
    database_url: Secret = SecretStr("")
    """From the environment: CALL_AGENT_DATABASE_URL, like postgresql://user:password@host/offhook."""
    engine_name: Word | None = None
    """Of this engine among those that share a database; absent means the name of the machine."""
    keep_days: Annotated[int, Field(ge=1)] = 90
    """How long settled calls are remembered."""


class CallAgentSettings(Section):
    """Calls that the engine places, and appointments it makes."""

    enabled: bool = True
    """False places no calls and makes no appointments."""
    file: Annotated[Path, Field(strict=False)] | None = None
    """A JSON file with the same sections in camel case, read on top of this one and relative to the folder of this
    file; secrets may stand there. CALL_AGENT_CONFIG names another one instead."""
    agent: Word | None = None
    """The agent who talks where a request names none; absent means `default_agent`."""
    tokens: SkipJsonSchema[tuple[SecretStr, ...]] = ()
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

    def contradictions(self, *, numbers: bool = False) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Values that are right alone and wrong together: where, and what to do. ``numbers``: ways out come and go
        while the engine runs, so that there need be none now."""
        for index, word in enumerate(self.retry.retry_statuses):
            if normal(word) not in ("busy", "no_answer", "failed"):
                yield ("retry", "retry_statuses", index), f"{word!r} is none of busy, no_answer, failed"
        if not self.enabled:
            return
        if self.telephony.provider == "asterisk" and not self.asterisk.trunks and not numbers:
            yield (
                ("asterisk", "trunks"),
                "provider asterisk needs a way out: {main: {dial: 'PJSIP/{number}@trunk'}}",
            )
        if self.telephony.provider == "twilio":
            for name in ("account_sid", "from_number"):
                if not getattr(self.twilio, name):
                    yield ("twilio", name), "needed, since telephony.provider is twilio (mock calls your browser)"

    def warnings(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What works, but hardly as it was meant: where, and what to do."""
        url, twilio = self.server.public_base_url, self.enabled and self.telephony.provider == "twilio"
        if twilio and url is not None and not url.lower().startswith("https:"):
            yield ("server", "public_base_url"), f"{url} is not https, as Twilio expects it"
        if twilio and url is None and self.tunnel.provider == "none":
            yield ("server", "public_base_url"), "Twilio cannot reach us: set it, or tunnel.provider"
        if twilio and not self.twilio.validate_signature:
            yield ("twilio", "validate_signature"), "anybody may call our webhooks"
        if self.notify.hooks_url and not self.notify.hooks_token.get_secret_value():
            yield ("notify", "hooks_url"), "nobody is told without NOTIFY_HOOKS_TOKEN in .env"
