"""A bar is seen where somebody watches, and leaves nothing behind."""

from types import SimpleNamespace

import pytest

from companion import progress


@pytest.mark.parametrize(
    ("variable", "terminal", "kernel", "shown"),
    [
        ("", False, False, False),
        ("", True, False, True),
        ("", False, True, True),
        ("0", True, False, False),
        ("0", False, True, False),
        ("1", False, False, True),
    ],
)
def test_a_bar_is_shown_where_somebody_watches(monkeypatch, variable, terminal, kernel, shown):
    Stream = type("OutStream", (), {"isatty": lambda self: terminal})
    Stream.__module__ = "ipykernel.iostream" if kernel else "somewhere"
    monkeypatch.setenv("COMPANION_PROGRESS", variable)
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stdout=Stream()))
    assert progress.watched() is shown


def test_a_bar_goes_to_standard_output_and_away(monkeypatch, capsys):
    monkeypatch.setenv("COMPANION_PROGRESS", "1")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress.bar(3) as shown:
        shown.update(3)
    out, err = capsys.readouterr()
    assert err == ""
    assert "3" in out
    assert out.rsplit("\r", 1)[-1].strip() == ""


def test_nothing_is_printed_where_nobody_watches(monkeypatch, capsys):
    monkeypatch.delenv("COMPANION_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress.bar(3) as shown:
        shown.update(3)
    assert capsys.readouterr() == ("", "")
