"""Everything that may become of devices, owners and gateways, in any order, erasures between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from depin_id.claims import Place
from depin_id.errors import DepinError
from depin_id.owners import ClaimCode, Party, make_succession
from depin_id.statements import write_statement
from depin_id.testing import NOW, TestDevice
from tests.identity.delegated import (
    OTHER,
    OTHER_PARTY,
    OWNER,
    OWNER_PARTY,
    born,
    chain,
    claim_of,
    done,
    longer,
    nonce_for,
    pack,
    shown,
    sound,
)
from tests.identity.factory import Plant
from tests.identity.test_owners import _bound, _digest, _passed
from tests.owners.people import WALLETS, bind
from tests.verify.net import level

MORE = "[quota]\nowner_per_minute = 3\nowner_burst = 4\ndevice_per_minute = 600\n"
PEOPLE = ((OWNER_PARTY, OWNER), (OTHER_PARTY, OTHER))


class Mixed:
    """A network in which one step after the other is drawn."""

    def __init__(self, net: Plant, seed: int) -> None:
        self.net, self.draw, self.made = net, random.Random(seed), 0
        self.devices: list[TestDevice] = []
        self.codes: dict[str, ClaimCode] = {}
        self.dids: list[str] = []
        self.caps: list[tuple[TestDevice, bytes, bytes, str]] = []
        self.gateways = [net.gateway(f"gateway {n}") for n in range(2)]
        self.sold: dict[str, str] = {}

    def fresh(self) -> str:
        self.made += 1
        return f"mixed {self.made}"

    def step(self) -> None:
        name = self.draw.choice([item for item in dir(self) if item.startswith("do_")])
        try:
            getattr(self, name)()
        except DepinError:
            # Refused, and nothing has happened.
            assert not self.net.aggregator.broken

    def one(self) -> int:
        if not self.devices or self.draw.random() < 0.2:
            device, code = born(self.net, self.fresh())
            self.devices.append(device)
            self.codes[device.did] = code
            self.dids.append(device.did)
        return self.draw.randrange(len(self.devices))

    def do_send(self) -> None:
        device = self.devices[self.one()]
        self.net.send(device, device.next([level(50, NOW + self.made)]))

    do_send_again = do_send

    def do_carry(self) -> None:
        device, gateway = self.devices[self.one()], self.draw.choice(self.gateways)
        inner = device.next([level(51, NOW + self.made)])
        self.net.send(gateway, gateway.wrap(inner))

    def do_claim(self) -> None:
        did, (party, _) = self.dids[self.one()], self.draw.choice(PEOPLE)
        nonce = nonce_for(self.net, party.signer.public_key)
        wallet = None
        if self.draw.random() < 0.5:
            wallet = bind(
                WALLETS["eip155"], party.did, network=self.net.did, nonce=nonce, now=self.net.now_ms
            )
        data = claim_of(self.net, self.codes[did], did, party, nonce=nonce, wallet=wallet)
        if self.draw.random() < 0.5:
            done(self.net, "claim", statement=data.hex())
        else:
            kid = party.signer.public_key.kid.hex()
            self.net.ingest(self.net.message(kid, write_statement("claim", data)))

    def do_wallet(self) -> None:
        party, _ = self.draw.choice(PEOPLE)
        wallet = self.draw.choice(list(WALLETS.values()))
        done(self.net, "wallet", statement=_bound(self.net, party, wallet).hex())

    def do_transfer(self) -> None:
        at = self.one()
        device, (by, _), (to, _) = self.devices[at], self.draw.choice(PEOPLE), PEOPLE[0]
        to = self.draw.choice(PEOPLE)[0]
        data = _passed(
            _Named(self.dids[at]),  # type: ignore[arg-type]
            by,
            to.did,
            previous=self.sold.get(self.dids[at], "ab" * 32),
            at_s=self.net.now_ms // 1000,
        )
        done(self.net, "transfer", credential=data.decode())
        self.sold[self.dids[at]] = _digest(data)
        assert device

    def do_operator(self) -> None:
        done(self.net, "owner", did=self.dids[self.one()], owner=self.draw.choice(PEOPLE)[0].did)

    def do_succeed(self) -> None:
        at = self.one()
        device, did = self.devices[at], self.dids[at]
        name = self.fresh()
        new = self.net.make(name)
        party, role = (Party.of_key(device.signer), "old")
        if self.draw.random() < 0.5:
            party, role = self.draw.choice(PEOPLE)[0], "owner"
        data = make_succession(
            new.signer,
            role=role,  # type: ignore[arg-type]
            voucher=party,
            device=did,
            old=device.key.thumbprint,
            reason="rotation" if role == "old" else "lost",
            network=self.net.did,
            nonce=nonce_for(self.net, new.key),
            now=self.net.now_ms,
        )
        done(self.net, "succeed", statement=data.hex())
        self.devices[at] = new

    def do_show(self) -> None:
        gateway, (_, by) = self.draw.choice(self.gateways), self.draw.choice(PEOPLE)
        data = chain(
            self.net, gateway, by=by, max_count=self.draw.choice((2, 50)), expires=NOW + 9999
        )
        holder = gateway
        if self.draw.random() < 0.3:
            holder = self.draw.choice(self.gateways)
            data = longer(self.net, data, gateway, holder)
        proof = shown(self.net, holder.signer, data)
        answer = done(self.net, "capability", chain=data.hex(), proof=proof.hex())
        self.caps.append((holder, bytes.fromhex(answer["id"]), data, answer["issuer"]))

    def do_use(self) -> None:
        if self.caps:
            gateway, cap, _, issuer = self.draw.choice(self.caps)
            subject = f"{issuer}#{self.draw.choice(('hall', 'lobby'))}"
            self.net.send(
                gateway, pack(gateway, cap, subject, at=NOW + self.made, place=Place(1, 1))
            )

    do_use_again = do_use

    def do_withdraw(self) -> None:
        if self.caps and self.draw.random() < 0.3:
            done(self.net, "capability-withdraw", id=self.draw.choice(self.caps)[1].hex())

    def do_compromise(self) -> None:
        if self.draw.random() < 0.5:
            done(self.net, "compromised", did=self.dids[self.one()], since=self.net.now_ms - 5000)

    def do_revoke(self) -> None:
        if self.draw.random() < 0.3:
            done(self.net, "revoke", did=self.dids[self.one()])

    def do_erase(self) -> None:
        whom = [*self.dids, *(item.did for item in self.gateways), *(p.did for p, _ in PEOPLE)]
        if self.draw.random() < 0.4:
            done(self.net, "erase", did=self.draw.choice(whom))

    def do_gateway(self) -> None:
        if self.draw.random() < 0.3:
            self.gateways.append(self.net.gateway(self.fresh()))

    def do_reopen(self) -> None:
        self.net.reopen(forget_snapshot=self.draw.random() < 0.5)

    def do_wait(self) -> None:
        self.net.advance(self.draw.choice((1, 30, 400)))
        self.made += 1


class _Named:
    def __init__(self, did: str) -> None:
        self.did = did


@pytest.mark.parametrize("seed", range(3))
def test_any_order_comes_out_the_same_again(tmp_path: Path, seed: int) -> None:
    with Plant(tmp_path, more=MORE) as net:
        net.policy(net.text.replace("{more}", MORE) + 'succession = ["key", "owner"]\n')
        mixed = Mixed(net, seed)
        for _ in range(60):
            mixed.step()
        sound(net)
