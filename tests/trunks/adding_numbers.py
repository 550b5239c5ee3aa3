"""A process that adds numbers, or changes the key, again and again: FOLDER, FIRST number or `key`, HOW MANY or 0."""

import sys
from itertools import count
from pathlib import Path

import structlog
from pydantic import SecretStr

from ai_engine.trunks.key import generate
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    folder, first, many = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = NumberStore(folder, {})
    for done in count():
        if many and done == many:
            return
        if first == "key":
            store.rotate(generate())
            print(done, flush=True)
        else:
            number = f"+{int(first) + done}"
            store.add(
                SipNumber(number=number, address="sip.example.com", username="user", password=SecretStr("geheim"))
            )
            print(number, flush=True)  # it is on the disk when this is read


if __name__ == "__main__":
    main()
