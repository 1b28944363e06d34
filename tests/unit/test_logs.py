"""What the controller writes to its own log: no secrets, in text and as JSON."""

import json
import logging

import pytest

from rayjobwatch import logs

KEY = ["-----BEGIN PRIVATE " + "KEY-----", "MIIfakefake0000", "-----END PRIVATE " + "KEY-----"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_in_a_message_or_an_exception_is_not_written(
    log_format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for name in ("", *logs._CHATTY):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    logs.configure(log_format)
    error = ValueError("\n".join(["https://ann:hunter2@ray.example refuses", *KEY]))
    logging.getLogger("x").error("password=%s of %s", "hunter2", "ann", exc_info=error)
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert "fakefake" not in written
    shown = json.loads(written) if log_format == "json" else {"message": written, "exc_info": written}
    assert "password=*** of ann" in shown["message"]
    assert "ValueError: https://***@ray.example refuses" in shown["exc_info"]
