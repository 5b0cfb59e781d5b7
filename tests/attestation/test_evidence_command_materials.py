"""``depin-verify anchors|references|revocations``: what evidence is judged by, in an aggregator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.attestation.ca import Authority
from tests.attestation.test_revocations_lists import MIDDLE, ROOT, _crl, _entry
from tests.results.attesting import attest, issuer, material, trust
from tests.verify.cli_site import Site
from tests.verify.net import Net, level
from verify.attestation.bundles import bundle_revocations

MODELS = '[[model]]\nname = "chip"\nformats = ["idevid"]\nrevocation = "none"\n'


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    made.init()
    yield made
    made.close()


def test_materials_are_added_listed_and_removed(site: Site) -> None:
    folder = site.folder
    (folder / "roots" / "idevid").mkdir(parents=True)
    root = ROOT.certificate.public_bytes(Encoding.PEM)
    (folder / "roots" / "idevid" / "root.pem").write_bytes(root)
    (folder / "models.toml").write_text(MODELS)
    (folder / "list.der").write_bytes(_crl())
    (folder / "middle.pem").write_bytes(MIDDLE.certificate.public_bytes(Encoding.PEM))
    commands: dict[str, list[str | Path]] = {
        "anchors": ["add", site.root, folder / "roots"],
        "references": ["add", site.root, folder / "models.toml", "--name", "chips"],
        "revocations": [
            *("add", site.root, folder / "list.der", "--covers", "idevid"),
            *("--issuer", folder / "middle.pem"),
        ],
    }
    names = {"anchors": "roots", "references": "chips", "revocations": "list"}
    for what, arguments in commands.items():
        assert site.ok(what, "list", site.root).out.strip() == f"there are no {what}"
        answer = site.ok(what, *arguments, "--json").json
        assert (answer["name"], answer["changed"]) == (names[what], True)
        assert not site.ok(what, *arguments, "--json").json["changed"]
        shown = site.ok(what, "list", site.root).out
        assert names[what] in shown and "idevid" in shown
        (part,) = site.ok(what, "list", site.root, "--json").json["parts"]
        assert part["digest"] == answer["digest"]
    for what, name in names.items():
        site.ok(what, "remove", site.root, name)
        assert site.ok(what, "list", site.root, "--json").json["parts"] == []


def test_a_crl_reaches_back_to_what_was_accepted(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        trust(net)
        device = net.device(curve="p256")
        attest(net, device, serial=0x51)
        net.send(device, device.next([level()]))
        stranger = Authority("issuer", parent=Authority("another root"))
        for issuing, touched in ((stranger, 0), (issuer(), 1)):
            entry = _entry(_crl(issuing), issuing)
            data = bundle_revocations([entry])
            answer = material(net, "revocations", "crl", data, dry_run=True)
            assert len(answer["touched"]) == touched
