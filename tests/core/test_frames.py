"""The bus protocol against the byte-exact transactions and broken streams of the golden folder."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl import _core


@pytest.fixture(scope="module")
def frames(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "golden/feetech_frames/frames.json").read_text())


INSTRUCTIONS = {0x01: "ping", 0x02: "read", 0x03: "write", 0x04: "reg_write", 0x05: "action", 0x06: "recovery"} | {
    0x08: "reboot",
    0x82: "sync_read",
    0x83: "sync_write",
}


def fields_of(tx: bytes) -> tuple[str, dict[str, Any]]:
    """What a request says, read from its bytes by the layout of the facts."""
    name, servo, body = INSTRUCTIONS[tx[4]], tx[2], tx[5:-1]
    if name in ("ping", "action", "recovery", "reboot"):
        return name, {"id": servo}
    if name == "read":
        return name, {"id": servo, "address": body[0], "count": body[1]}
    if name in ("write", "reg_write"):
        return name, {"id": servo, "address": body[0], "data": body[1:]}
    if name == "sync_read":
        return name, {"address": body[0], "count": body[1], "ids": list(body[2:])}
    each = body[1] + 1
    parts = [body[2:][i : i + each] for i in range(0, len(body) - 2, each)]
    return name, {"address": body[0], "ids": [p[0] for p in parts], "data": [p[1:] for p in parts]}


@pytest.mark.shared
@pytest.mark.parametrize("protocol", [0, 1])
def test_every_request_is_built_byte_for_byte(frames: dict[str, Any], protocol: int) -> None:
    for item in frames[f"transactions_protocol{protocol}"]:
        tx = bytes.fromhex(item["tx"])
        name, fields = fields_of(tx)
        assert _core.encode_request(name, protocol=protocol, **fields) == tx, item["name"]


@pytest.mark.shared
def test_every_reply_is_one_packet(frames: dict[str, Any]) -> None:
    for item in frames["transactions_protocol0"] + frames["transactions_protocol1"]:
        for reply in item["rx"]:
            rx = bytes.fromhex(reply)
            assert _core.parse_packet(rx) == (_core.ParseKind.PACKET, len(rx)), item["name"]


def test_words_have_the_byte_order_of_the_protocol() -> None:
    little = _core.encode_request("write", id=1, address=42, value=700, protocol=0)
    big = _core.encode_request("write", id=1, address=42, value=700, protocol=1)
    assert (little[6:8], big[6:8]) == (b"\xbc\x02", b"\x02\xbc")


def pieces_of(size: int) -> list[list[int]]:
    draw = random.Random(size)
    cut = []
    while sum(cut) < size:
        cut.append(draw.randint(1, 5))
    return [[], [1] * size, cut]


@pytest.mark.shared
def test_every_stream_means_the_same_whole_and_in_pieces(frames: dict[str, Any]) -> None:
    for item in frames["streams"]:
        rx, tx = bytes.fromhex(item["rx"]), bytes.fromhex(item["tx"])
        for pieces in pieces_of(len(rx)):
            got = _core.decode_stream(rx, tx, item["expect"], pieces)
            want = item["outcome"]
            where = (item["name"], pieces)
            assert got.get("error") == want.get("error"), where
            assert {str(k): v for k, v in got.get("values", {}).items()} == want.get("values", {}), where
            assert got["echo"] == want.get("echo", False), where
            assert got.get("missing", []) == want.get("missing", []), where
            status = got.get("status", {})
            named = {str(k): v for k, v in status.items()} if isinstance(status, dict) else status
            assert named == want.get("status", {}), where
            if "raw" in want:
                assert got["raw"] == want["raw"], where


@pytest.mark.shared
def test_sign_and_magnitude_as_measured(shared: Path) -> None:
    for sample in json.loads((shared / "golden/calibration/samples.json").read_text())["sign_magnitude"]:
        encoded = _core.sign_magnitude_encode(sample["value"], sample["bit"])
        assert encoded == sample["encoded"]
        assert _core.sign_magnitude_decode(encoded, sample["bit"]) == sample["value"]


def test_a_value_beyond_the_sign_bit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        _core.sign_magnitude_encode(2048, 11)


def packet(servo: int, body: bytes) -> bytes:
    head = bytes([servo, len(body) + 2, 0]) + body
    return b"\xff\xff" + head + bytes([~sum(head) & 0xFF])


def kinds(stream: bytes) -> list[_core.ParseKind]:
    found = []
    while True:
        kind, consumed = _core.parse_packet(stream)
        if kind == _core.ParseKind.NEED_MORE:
            return found
        found.append(kind)
        stream = stream[consumed:]


@given(st.binary(max_size=20), st.integers(4, 25), st.integers(1, 255))
def test_one_corrupt_reply_does_not_cost_the_next_one(body: bytes, where: int, flip: int) -> None:
    damaged = bytearray(packet(1, body))
    damaged[min(where, len(damaged) - 1)] ^= flip
    assert kinds(bytes(damaged) + packet(2, b"\x07")).count(_core.ParseKind.PACKET) >= 1
    # Not "== 1": bytes behind the damage may spell a packet. The id tells the bus which one it asked for.


@given(st.binary(max_size=300))
def test_any_bytes_end_and_never_raise(noise: bytes) -> None:
    assert len(kinds(noise)) <= len(noise)
    expect = {"kind": "sync_read", "ids": [1, 2, 3], "address": 56, "length": 2}
    tx = _core.encode_request("sync_read", address=56, count=2, ids=[1, 2, 3])
    assert _core.decode_stream(noise, tx, expect) == _core.decode_stream(noise, tx, expect, [1] * len(noise))
