"""The guide's examples are read as an engine reads them."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

from adaptive_spec.integrations.configuration import Configuration, read_configuration
from adaptive_spec.integrations.vllm.steering import Wishes

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "vllm.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def test_the_file_is_read(tmp_path: Path) -> None:
    [toml] = re.findall(r"^```toml\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "spec.toml"
    path.write_text(toml, encoding="utf-8")
    found = read_configuration(None, {"ADAPTIVE_SPEC_CONFIG": str(path)})
    assert found.by_class.names == ("interactive", "batch")


def test_the_flag_is_read() -> None:
    [command] = re.findall(r"^```sh\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    words = shlex.split(command)
    given = json.loads(words[words.index("--additional-config") + 1])
    assert read_configuration(given, {}).policy == "auto"


def test_every_field_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert rows == [*(field.name for field in fields(Configuration)), *Wishes._fields]
