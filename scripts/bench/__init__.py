"""How much the engine carries, and how fast: a load generator beside the real engine.

marks      numbers hidden in 20 ms of sound, which survive G.711: who sent which frame
agent      the zero-latency agent that answers a marked frame with marked frames
engine     runs in a process of its own: the real engine with that agent, on core 0
generator  runs in a process of its own: many AudioSocket callers on core 1; ``callers`` are what it moves
launch     starts and asks both
load       shape 1: engine alone over loopback AudioSocket
sip        shape 2: SIP calls through the real Asterisk
detail     shape 3: one call, every transport
providers  shape 4: one call at a time with each provider of ``provider_kinds``; ``provider_fakes`` and
           ``provider_caller`` are processes, ``provider_rows`` what is made of all they saw
figures    histograms, percentiles, knee, slope: pure
report     bars, the table, JSON; ``plots`` draws
"""
