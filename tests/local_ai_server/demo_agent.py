"""An agent much like the shipped one, what callers say to it, and what it must not understand."""

from typing import Any

AGENT: dict[str, Any] = {
    "name": "demo",
    "greeting": "Hello, this is Riverside. How can I help you?",
    "fallback": "Sorry, I did not get that.",
    "nudge": "Are you still there?",
    "slots": {"day": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
    "intents": {
        "hours": {
            "phrases": ["what are your opening hours", "when are you open", "what time do you (open|close)"],
            "answer": "We are open from nine to five, Monday to Friday.",
        },
        "day": {"phrases": ["are you open on {day}"], "answer": "On {day} we are open from nine to five."},
        "services": {
            "phrases": ["what can you do [for me]", "tell me about your services", "what do you offer"],
            "answer": "I can tell you about our opening hours, and where to find us, and what it costs to park a car."
            " I can also put you through to a colleague of mine, who is a human being, and who will be glad to help you"
            " with everything that I do not know myself. You may interrupt me whenever you like. Just ask me.",
        },
        "address": {
            "phrases": ["where are you", "what is your address", "how do i get there"],
            "answer": "We are at twelve Harbour Street.",
        },
        "human": {
            "phrases": ["can i speak to a person", "talk to a human", "i want to talk to (a human|a person|somebody)"],
            "answer": "One moment please.",
            "action": "transfer",
        },
        "price": {
            "phrases": ["how much does it cost", "what are your prices"],
            "answer": "A visit is twenty euros.",
        },
        "goodbye": {
            "phrases": ["no that's all goodbye", "no thank you goodbye", "goodbye", "that's all thank you"],
            "answer": "Thank you for calling. Goodbye!",
            "action": "hangup",
        },
    },
}

UNDERSTOOD = {
    "what are your opening hours": "hours",
    "when are you open": "hours",
    "what time do you close": "hours",
    "are you open on monday": "day",
    "are you open on saturday": "day",
    "what can you do for me": "services",
    "what can you do": "services",
    "tell me about your services": "services",
    "what do you offer": "services",
    "where are you": "address",
    "what is your address": "address",
    "how do i get there": "address",
    "can i speak to a person": "human",
    "talk to a human": "human",
    "i want to talk to somebody": "human",
    "how much does it cost": "price",
    "what are your prices": "price",
    "no that's all goodbye": "goodbye",
    "no thank you goodbye": "goodbye",
    "goodbye": "goodbye",
    "that's all thank you": "goodbye",
}

FOREIGN = (
    "the weather is lovely in spain today",
    "my dog ate the homework again",
    "please add two pounds of flour",
    "seven hundred and twelve elephants",
    "the train leaves at platform nine",
    "i would like a pepperoni pizza with extra cheese",
    "who won the football game last night",
    "my password does not work any more",
    "purple monkeys dance in the rain",
    "the quick brown fox jumps over the lazy dog",
    "can you play some music",
    "shipping was delayed because of snow",
    "he painted the fence green yesterday",
    "is the invoice number four five six correct",
    "banana",
    "what is the capital of france",
    "my name is robert and i live in chicago",
    "do you sell tickets for the concert",
    "i lost my luggage at the airport",
    "when does my flight arrive in boston",
)
