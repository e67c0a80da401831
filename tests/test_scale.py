import pytest

from companion import scale


@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, "quick"), ("", "quick"), ("smoke", "smoke"), ("quick", "quick"), ("full", "full")],
)
def test_scale_is_read_from_the_environment(monkeypatch, variable, expected):
    monkeypatch.delenv("COMPANION_SCALE", raising=False)
    if variable is not None:
        monkeypatch.setenv("COMPANION_SCALE", variable)
    assert scale.name() == expected
    assert scale.pick(smoke="smoke", quick="quick", full="full") == expected


def test_unknown_scale_is_named_in_the_error(monkeypatch):
    monkeypatch.setenv("COMPANION_SCALE", "huge")
    with pytest.raises(ValueError, match=r"COMPANION_SCALE .*'smoke', 'quick', 'full'.* 'huge'"):
        scale.pick(smoke=1, quick=2, full=3)
