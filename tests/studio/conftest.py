"""A folder for each test in which `studio` runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ai_engine.studio.output import calm_logs
from tests.studio.house import CONFIG, House


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/ai-agent.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    before = structlog.get_config()
    calm_logs()
    yield House(tmp_path, monkeypatch)
    structlog.configure(**before)
