"""Logging of the controller process."""

import logging
from copy import copy

from pythonjsonlogger.json import JsonFormatter

from rayjobwatch.model.redaction import redact
from rayjobwatch.model.redaction.keys import without_keys

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"

# At INFO these write a line for every handler call or request, URLs and handshake headers among them.
_CHATTY = ("aiohttp.access", "httpx", "httpcore", "kopf.objects", "kubernetes")


class _Masking(logging.Formatter):
    """Masks secrets in a record's message and exception: an error may quote what was sent or read."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)
        shown.msg, shown.args = _masked(record.getMessage()), None
        if record.exc_info:
            shown.exc_text, shown.exc_info = _masked(self.formatException(record.exc_info)), None
        return super().format(shown)


class _Json(_Masking, JsonFormatter):
    pass


def _masked(text: str) -> str:
    lines, _ = without_keys(text.split("\n"), False)
    return "\n".join(map(redact, lines))


def configure(log_format: str) -> None:
    """Log to standard error, as `text` or as `json` (an object a line)."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(_FIELDS) if log_format == "json" else _Masking(_FIELDS))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
