"""Models for local_ai_server: a catalogue of them, and how they get here whole and unaltered.

catalogue.yaml   what there is: source, size, licence, checksum
catalogue.py     reads it, checks it
download.py      one file over HTTP, resumed where it broke off
unpack.py        an archive, without trusting it
checksums.py     models/CHECKSUMS: what arrived, and what the first download of a file was like
store.py         the models folder: what is here, what has begun, what goes
fetch.py         one model from its hosts into the folder
screen.py        tables, questions, progress
__main__.py      the command: scripts/fetch_models --help
"""
