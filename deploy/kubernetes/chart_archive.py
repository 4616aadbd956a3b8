"""Writes the chart into a folder: as `helm install FILE` takes it, and as an OCI archive that can be copied to a registry.

Helm's library decides what is in the chart. Its archive has the time at which it was made, so it is packed again with
SOURCE_DATE_EPOCH. The artefact is what `helm push` would upload: https://helm.sh/community/hips/hip-0017.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import helm_python as helm
import yaml

CHART = Path(__file__).resolve().parent / "chart"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def packed(entries):
    """A tar of names and bytes, the same for the same entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, int(os.environ["SOURCE_DATE_EPOCH"])
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def content():
    """The chart as Helm packs it, but for the times."""
    with tempfile.TemporaryDirectory() as folder:
        with helm.Chart.load(str(CHART)) as chart:
            chart.save(folder)
        (made,) = Path(folder).glob("*.tgz")
        with tarfile.open(made) as tar:
            entries = sorted((entry.name, tar.extractfile(entry).read()) for entry in tar if entry.isfile())
    # Chart.yaml first, as Helm has it: some readers stop there.
    entries.sort(key=lambda entry: not entry[0].endswith("/Chart.yaml"))
    return gzip.compress(packed(entries), mtime=0)


def oci(chart, metadata):
    """The artefact in an OCI layout in a tar, under its version."""
    blobs = {}

    def put(media_type, bytes_):
        digest = hashlib.sha256(bytes_).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = bytes_
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(bytes_)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(CONFIG, json.dumps(metadata, sort_keys=True).encode()),
        "layers": [put(CONTENT, chart)],
        "annotations": {
            "org.opencontainers.image.title": metadata["name"],
            "org.opencontainers.image.description": metadata["description"],
            "org.opencontainers.image.version": metadata["version"],
            "org.opencontainers.image.source": metadata["sources"][0],
        },
    }
    named = put(MANIFEST, json.dumps(manifest).encode())
    named["annotations"] = {"org.opencontainers.image.ref.name": metadata["version"]}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [named]}
    return packed([
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("index.json", json.dumps(index).encode()),
        *sorted(blobs.items()),
    ])


def write(folder):
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    chart = content()
    name = f"{metadata['name']}-chart"
    (folder / f"{name}-{metadata['version']}.tgz").write_bytes(chart)
    (folder / f"{name}.oci.tar").write_bytes(oci(chart, metadata))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
