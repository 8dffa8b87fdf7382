"""Kernel settings."""

from pathlib import Path

import pytest

from lb.network import sysctl


def test_ensure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    (tmp_path / "ipv4").mkdir()
    (tmp_path / "ipv4" / "ip_forward").write_text("0\n")
    assert sysctl.ensure("ipv4/ip_forward", "1")
    assert not sysctl.ensure("ipv4/ip_forward", "1")
    assert sysctl.read("ipv4/ip_forward") == "1"
    assert sysctl.read("ipv4/absent") == ""
    assert not sysctl.has_ipv6()


def test_what_cannot_be_set_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    with pytest.raises(sysctl.SysctlRefused, match=r"net\.ipv4\.ip_forward is absent, needs to be 1.*privileged"):
        sysctl.ensure("ipv4/ip_forward", "1")
