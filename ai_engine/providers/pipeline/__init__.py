"""Speech to text, a language model and text to speech, presented as one agent."""
