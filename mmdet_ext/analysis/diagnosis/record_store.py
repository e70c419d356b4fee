"""Records on disk, so that a diagnosis of a large set needs little memory and goes on where it was stopped."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .record import ImageRecord, read_record, write_record


class RecordStore:
    """Folder with one file for each image: `<folder>/<split>/<index>.npz`.

    Args:
        folder: Made where it is missing.
        identity: What the records depend on: hashes of config and checkpoint, versions. Plain JSON values. What only
            one call knows of (annotations of a split that the others do not look at) is kept for later ones.

    Raises:
        ValueError: The folder has records of another config or checkpoint, or its list of these is damaged.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / 'identity.json'
        wanted = json.loads(json.dumps(dict(identity)))
        if file.is_file():
            known = _read_identity(file)
            differing = sorted(key for key in known.keys() & wanted.keys() if known[key] != wanted[key])
            if differing:
                raise ValueError(
                    f'{self.folder} has the records of another run ({", ".join(differing)} differ): choose another '
                    '--out, or delete the folder to start over'
                )
            wanted = known | wanted
        file.write_text(json.dumps(wanted, indent=2) + '\n', encoding='utf-8')

    def path(self, split: str, index: int) -> Path:
        """File of an image."""
        return self.folder / split / f'{index:07d}.npz'

    def has(self, split: str, index: int) -> bool:
        """Whether the image has a record."""
        return self.path(split, index).is_file()

    def add(self, record: ImageRecord) -> Path:
        """Write a record."""
        return write_record(record, self.path(record.split, record.index))

    def get(self, split: str, index: int) -> ImageRecord:
        """Read the record of an image."""
        return read_record(self.path(split, index))

    def records(self, split: str) -> Iterator[ImageRecord]:
        """All records of a split in the order of the data set, read one at a time."""
        yield from map(read_record, sorted((self.folder / split).glob('*.npz')))


def _read_identity(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text(encoding='utf-8'))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise ValueError(f'{file} is damaged, so nothing tells what its records are of: delete {file.parent}')
    return known
