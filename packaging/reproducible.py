"""Archives that are the same for the same content, and the list of what serd is made with.

``reproducible.py FOLDER_OR_ARCHIVE OUT.tar.gz`` packs a folder, or an archive anew, with fixed times
($SOURCE_DATE_EPOCH), owners, modes and order. ``reproducible.py --sbom LOCK VERSION OUT.json`` writes
a CycloneDX SBOM of a lock file by cyclonedx-py, without what differs from run to run.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def pack(source: Path, target: Path) -> None:
    """Pack a folder's content, or an archive's, into a .tar.gz."""
    with tempfile.TemporaryDirectory() as work:
        if source.is_file():
            with tarfile.open(source) as archive:
                archive.extractall(work, filter="data")
            source = Path(work)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(source.rglob("*")):
                entry = archive.gettarinfo(path, arcname=str(path.relative_to(source)))
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                entry.mtime = EPOCH
                entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
                if entry.isreg():
                    with path.open("rb") as file:
                        archive.addfile(entry, file)
                else:
                    archive.addfile(entry)
    with target.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=EPOCH) as zipped:
        zipped.write(content.getvalue())


def sbom(lock: Path, version: str, target: Path) -> None:
    """Write the SBOM of a lock file."""
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible",
         "--sv", "1.6", "--of", "JSON", str(lock)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"reproducible.py: cyclonedx-py failed: {done.stderr.strip()[-500:]}")
    made = json.loads(done.stdout)
    metadata = made.setdefault("metadata", {})
    metadata["timestamp"] = datetime.fromtimestamp(EPOCH, UTC).isoformat()
    purl = f"pkg:pypi/serd-emotion@{version}"
    metadata["component"] = {
        "type": "application", "name": "serd-emotion", "version": version, "purl": purl,
        "bom-ref": purl, "licenses": [{"license": {"id": "Apache-2.0"}}],
    }  # fmt: skip
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, purl)}"
    target.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--sbom", locked, its_version, out]:
            sbom(Path(locked), its_version, Path(out))
        case [given, out]:
            pack(Path(given), Path(out))
        case _:
            sys.exit(__doc__)
