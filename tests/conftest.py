"""Every test sees the same terminal: no colour, a fixed width; and property tests have no deadline."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "glimpse", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("glimpse")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    for name in ("GLIMPSE_DEVICE", "GLIMPSE_JOBS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TERMINAL_WIDTH", "110")
