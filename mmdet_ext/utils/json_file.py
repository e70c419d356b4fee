"""JSON files that are never half-written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: str | Path, content: Mapping[str, Any], indent: int | None = None) -> Path:
    """Write a JSON file whole or not at all; missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.part')
    part.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(part, path)
    return path
