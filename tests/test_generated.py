"""What is committed and derived from the code is what the code says now."""

import pytest

from recbole_vae_plugin.cli.generate import generated


@pytest.mark.parametrize(("file", "text"), generated(), ids=lambda value: getattr(value, "name", ""))
def test_it_is_current(file, text):
    assert file.read_text(encoding="utf-8") == text, "run: python -m recbole_vae_plugin.cli.generate"
