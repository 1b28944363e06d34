"""The command line: what is wrong is refused at once, by the option's name and with the remedy."""

import pytest

from rayjobwatch.cli import main


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("--health-port", "65536", "must be a port, 1 to 65535, or 0 for none"),
        ("--health-port", "-1", "must be a port"),
        ("--health-port", "http", "must be a port"),
        ("--namespace", "", "must be the name of a namespace"),
        ("--namespace", "team-*", "must be the name of a namespace; give the option once for each"),
        ("--namespace", "a,b", "give the option once for each"),
        ("--dashboard-override", "ml/shared", "must be NAMESPACE/NAME=http://HOST:PORT"),
        ("--dashboard-override", "ml/shared=http://h:0", "must be NAMESPACE/NAME=http://HOST:PORT"),
        ("--allow-dashboard-url", "ray.example.com", "must be * or http(s)://HOST"),
        ("--allow-dashboard-url", "https://a.*.com", "HOST may begin with *."),
    ],
)
def test_a_bad_option_is_refused_with_its_remedy(
    option: str, value: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["run", f"{option}={value}"])
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {option}: {value!r}: " in said
    assert remedy in said
