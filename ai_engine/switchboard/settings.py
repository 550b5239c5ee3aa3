"""What the `studio` section of the file may say."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_engine.settings import Section, Word


class Transports(Section):
    """Transports in Asterisk's pjsip.conf that trunks use: they cannot be made while it runs."""

    udp: Word = "transport-udp"
    """The section of `type=transport` with `protocol=udp`."""
    tcp: Word = "transport-tcp"
    """The same for `protocol=tcp`."""
    tls: Word = "transport-tls"
    """The same for `protocol=tls`."""


class StudioSettings(Section):
    """Numbers, agents and calls, looked after with `studio`."""

    directory: Annotated[Path, Field(strict=False)] = Path("var/studio")
    """Where the encrypted store of numbers, its key and the list of running engines are; relative to the working
    directory."""
    agents: Annotated[Path, Field(strict=False)] = Path("config/agents")
    """A folder of agents, a file each: `NAME.yaml` as below `agents`, or `NAME.toml` (convo.toml). Read anew when they
    change."""
    pjsip_directory: Annotated[Path, Field(strict=False)] | None = None
    """A folder that Asterisk reads with `#tryinclude pjsip.d/*.conf` in its pjsip.conf: trunks are written there.
    Absent: they are pushed over ARI (needs sorcery.conf, see docs/studio.md)."""
    context: Word = "offhook-number"
    """Dialplan context of calls that come in over those trunks."""
    transports: Transports = Transports()
    media_address: str = ""
    """The address Asterisk names in its SDP on those trunks; empty: the one it finds. Named, no name server is asked
    when a call is answered."""
