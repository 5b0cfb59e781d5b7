"""Noise along streets, from phones that were carried about.

Each track becomes a device of its own that signs level and position second by second. The
aggregator judges every record, and what counts comes out as a table and as a map of H3 cells.

    python examples/street_mapping.py TRACKS --out map

TRACKS is a GeoJSON file of NoiseCapture, the folder of a track, or a folder of either.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h3

from depin_id import DepinError, Device, NetworkDir, Reading, reading
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.dataset import export
from verify.entries import Judged
from verify.ingest import Message
from verify.leaf import RecordsContent
from verify.reading import Reader
from verify.setup import init

SECONDS_A_PACK = 60


@dataclass(frozen=True)
class Track:
    """A recording: points of one second each, in order."""

    name: str
    points: list[dict[str, Any]]

    @property
    def end(self) -> int:
        """When it ended, in whole seconds since 1970, rounded up."""
        newest: int = max(point["properties"]["leq_utc"] for point in self.points)
        return -(-newest // 1000)


def find_tracks(path: Path) -> list[Track]:
    """The tracks of a file or folder, oldest first."""
    files = [path] if path.is_file() else sorted(path.rglob("*.geojson"))
    tracks = []
    for file in files:
        name = file.parent.name if file.name == "track.geojson" else file.stem
        points = json.loads(file.read_text("utf-8"))["features"]
        tracks.append(Track(name, sorted(points, key=lambda p: p["properties"]["leq_utc"])))
    return sorted(tracks, key=lambda track: track.end)


def readings_of(point: dict[str, Any]) -> Iterator[Reading]:
    """What a phone says of one second: the level, and where it was if it knew."""
    sent = point["properties"]
    time = sent["leq_utc"] / 1000
    yield reading("laeq", sent["leq_mean"], "dB", time)
    if point.get("geometry") is None:
        return
    lon, lat = point["geometry"]["coordinates"][:2]
    yield reading("lat", lat, "lat", time)
    yield reading("lon", lon, "lon", time)
    yield reading("accuracy", sent["accuracy"], "m", time)
    yield reading("fix-age", (sent["leq_utc"] - sent["location_utc"]) / 1000, "s", time)


def signed(device: Device, track: Track, network: str) -> Iterator[bytes]:
    """The track as envelopes of the device."""
    for start in range(0, len(track.points), SECONDS_A_PACK):
        pack = track.points[start : start + SECONDS_A_PACK]
        yield device.sign([r for point in pack for r in readings_of(point)], network=network)


def carry(aggregator: Aggregator, network: str, folder: Path, track: Track) -> str:
    """Make a phone, enrol it, hand in what it signs at the time of the recording; gives its DID."""
    with Device.create(
        folder / track.name,
        name=track.name,
        profile="mobile-noise@1",
        wall=lambda: float(track.end),
    ) as phone:
        enrol(aggregator, [phone.enrolment], effective_from=0)
        at = track.end * 1000
        messages = [
            Message(envelope, phone.public_key.kid.hex(), at, "example", None)
            for envelope in signed(phone, track, network)
        ]
    aggregator.ingest(messages, asserted_ms=at)
    return phone.did


def fates(reader: Reader, did: str) -> Counter[str]:
    """What became of each level of a phone: ``accepted``, or the code that says why not."""
    found: Counter[str] = Counter()
    for index in reader.find(did=did, limit=1 << 16):
        opened = reader.opened(index)
        entry = opened.entry
        if not isinstance(entry, Judged) or opened.private is None:
            continue
        if opened.private.records is None:
            found[f"whole pack: {entry.code}"] += 1
            continue
        rows = RecordsContent.decode(opened.private.records).rows
        found.update(row.code or "accepted" for row in rows if row.name == "laeq")
    return found


def cells(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The levels by H3 cell as GeoJSON: energetic mean, and how many seconds it stands on."""
    energies: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        energies[row["h3_cell"]].append(10 ** (row["value"] / 10))
    features = []
    for cell, found in sorted(energies.items()):
        ring = [[lon, lat] for lat, lon in h3.cell_to_boundary(cell)]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {
                    "cell": cell,
                    "laeq_db": round(10 * math.log10(sum(found) / len(found)), 1),
                    "seconds": len(found),
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write_map(public: Path, out: Path) -> None:
    """Export what counts: every reading as CSV, the cells as GeoJSON."""
    export(public, "csv", out / "levels.csv")
    export(public, "jsonl", out / "levels.jsonl")
    rows = [json.loads(line) for line in (out / "levels.jsonl").read_text("utf-8").splitlines()]
    found = cells([row for row in rows if row["name"] == "laeq" and row["h3_cell"]])
    (out / "cells.geojson").write_text(json.dumps(found, indent=1), "utf-8")
    print(f"{len(found['features'])} cells in {out / 'cells.geojson'}, readings in levels.csv")
    for feature in found["features"][:5]:
        about = feature["properties"]
        print(f"  {about['cell']}  {about['laeq_db']} dB over {about['seconds']} s")


def main(argv: list[str] | None = None) -> None:
    """Map the tracks that the command line names."""
    parser = argparse.ArgumentParser(description="Noise along streets, from signed phone tracks.")
    parser.add_argument("tracks", type=Path, metavar="PATH", help="GeoJSON file, or a folder")
    parser.add_argument("--out", type=Path, default=Path("street-map"), help="a folder to make")
    arguments = parser.parse_args(argv)
    tracks = find_tracks(arguments.tracks)
    if not tracks:
        raise SystemExit(f"{arguments.tracks} holds no .geojson file")
    try:
        map_streets(tracks, arguments.out)
    except DepinError as error:
        raise SystemExit(f"error: {error}") from error


def map_streets(tracks: list[Track], out: Path) -> None:
    """Make a network in ``out``, hand in the tracks, say what became of them, write the map."""
    network = NetworkDir.create(out / "network", "street-map")
    # Recordings were received when they were made: the first entry of the log says that here
    # receipt times are asserted, and every reading is flagged so.
    init(out / "aggregator", out / "network", allow_asserted_time=True)
    phones: dict[str, str] = {}
    with Aggregator(out / "aggregator") as aggregator:
        for track in tracks:
            try:
                phones[track.name] = carry(aggregator, network.card.network, out / "phones", track)
            except DepinError as error:
                print(f"{track.name}: not signed: {error}")
    with Reader(out / "aggregator") as reader:
        for track in tracks:
            if track.name in phones:
                told = ", ".join(
                    f"{code} {count}" for code, count in fates(reader, phones[track.name]).items()
                )
                print(f"{track.name}: {len(track.points)} s measured: {told}")
    write_map(out / "aggregator" / "public", out)


if __name__ == "__main__":
    main()
