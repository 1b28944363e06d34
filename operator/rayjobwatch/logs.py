"""Logging of the controller process."""

import logging

from pythonjsonlogger.json import JsonFormatter

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"

# At INFO these write a line for every handler call or request, URLs and handshake headers among them.
_CHATTY = ("aiohttp.access", "httpx", "httpcore", "kopf.objects", "kubernetes")


def configure(log_format: str) -> None:
    """Log to standard error, as `text` or as `json` (an object a line)."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(_FIELDS) if log_format == "json" else logging.Formatter(_FIELDS))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
