"""The commands for those who ask for calls, without an engine: python -m tests.fakes.call_agent_program."""

import argparse
import os
import sys

from ai_engine.web import commands

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers(dest="command", required=True))
    sys.exit(commands.run(parser.parse_args(), os.environ, "1.2"))
