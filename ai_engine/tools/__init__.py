"""What the agent may do to a call."""

from ai_engine.session.ports import Tool
from ai_engine.tools.hangup import Hangup
from ai_engine.tools.send_dtmf import SendDtmf
from ai_engine.tools.transfer import Transfer

BUILT_IN: dict[str, Tool] = {tool.name: tool for tool in (Hangup(), SendDtmf(), Transfer())}
"""Every tool by the name the agent asks for it."""
