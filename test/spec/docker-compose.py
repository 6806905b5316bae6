"""Reads manifests with docker-compose's own code, many in one process.

Takes a JSON list of {"directory", "files", "environment"} on stdin, and prints a JSON list
of {"text"}, what `docker-compose config` prints for each, or {"error"}.
"""

import json
import sys

from compose.config import config
from compose.config.environment import Environment
from compose.config.errors import ConfigurationError
from compose.config.serialize import serialize_config


def read(case):
    environment = Environment(case["environment"])
    try:
        details = config.find(case["directory"], case["files"], environment)
        loaded = config.load(details)
        return {"text": serialize_config(loaded, escape_dollar=True)}
    except ConfigurationError as error:
        return {"error": str(error)}


json.dump([read(case) for case in json.load(sys.stdin)], sys.stdout)
