"""The messages of Deepgram's Voice Agent, by the vendor's own SDK."""

from deepgram.agent.v1 import types as sdk
from deepgram.agent.v1.types.conversation_history_message import ConversationHistoryMessage
from deepgram.agent.v1.types.function_call_history_message import FunctionCallHistoryMessage

from tests.fakes.deepgram_wire import Types

SENT: Types = {
    "Welcome": (sdk.AgentV1Welcome,),
    "SettingsApplied": (sdk.AgentV1SettingsApplied,),
    "History": (ConversationHistoryMessage, FunctionCallHistoryMessage),
    "ConversationText": (sdk.AgentV1ConversationText,),
    "UserStartedSpeaking": (sdk.AgentV1UserStartedSpeaking,),
    "AgentThinking": (sdk.AgentV1AgentThinking,),
    "AgentStartedSpeaking": (sdk.AgentV1AgentStartedSpeaking,),
    "AgentAudioDone": (sdk.AgentV1AgentAudioDone,),
    "FunctionCallRequest": (sdk.AgentV1FunctionCallRequest,),
    "FunctionCallCancelled": (sdk.AgentV1FunctionCallCancelled,),
    "InjectionRefused": (sdk.AgentV1InjectionRefused,),
    "PromptUpdated": (sdk.AgentV1PromptUpdated,),
    "SpeakUpdated": (sdk.AgentV1SpeakUpdated,),
    "ThinkUpdated": (sdk.AgentV1ThinkUpdated,),
    "ListenUpdated": (sdk.AgentV1ListenUpdated,),
    "Error": (sdk.AgentV1Error,),
}

RECEIVED: Types = {
    "Settings": (sdk.AgentV1Settings,),
    "KeepAlive": (sdk.AgentV1KeepAlive,),
    "FunctionCallResponse": (sdk.AgentV1SendFunctionCallResponse,),
    "InjectAgentMessage": (sdk.AgentV1InjectAgentMessage,),
    "InjectUserMessage": (sdk.AgentV1InjectUserMessage,),
    "UpdatePrompt": (sdk.AgentV1UpdatePrompt,),
    "UpdateSpeak": (sdk.AgentV1UpdateSpeak,),
    "UpdateThink": (sdk.AgentV1UpdateThink,),
    "UpdateListen": (sdk.AgentV1UpdateListen,),
    "ForceEndTurn": (sdk.AgentV1ForceEndTurn,),
}
"""What the fake can do; Think Live and custom think providers it has not, as a project without them."""

UPDATED = {
    "UpdatePrompt": "PromptUpdated",
    "UpdateSpeak": "SpeakUpdated",
    "UpdateThink": "ThinkUpdated",
    "UpdateListen": "ListenUpdated",
}
