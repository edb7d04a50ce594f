"""How a client talks with its test: one JSON value per line, in both directions."""

import json
import sys
import traceback


def say(value):
    print(json.dumps(value), flush=True)


def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    return json.loads(line)


def run(main):
    """Runs a client to its end; what goes wrong is told to the test."""
    try:
        say({"done": main()})
    except Exception:
        say({"failed": traceback.format_exc()})
