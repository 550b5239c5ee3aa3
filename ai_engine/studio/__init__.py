"""`studio`: numbers, agents and calls at one's fingertips, on the command line and in a terminal."""
