"""The examples of RFC 8428 as vectors. Source: RFC 8428 sections 5.1 and 6 (figures are the RFC's);
hex dump checked against core-wg/senml-spec, ex3.gen.cbor.hex."""

from __future__ import annotations

SINGLE = '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]'
"""Section 5.1.1."""

MULTIPLE = """[
  {"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
  {"n":"current","u":"A","v":1.2}
]"""
"""Section 5.1.2."""

BASES = """[
  {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,
   "bu":"A","bver":5,
   "n":"voltage","u":"V","v":120.1},
  {"n":"current","t":-5,"v":1.2},
  {"n":"current","t":-4,"v":1.3},
  {"n":"current","t":-3,"v":1.4},
  {"n":"current","t":-2,"v":1.5},
  {"n":"current","t":-1,"v":1.6},
  {"n":"current","v":1.7}
]"""
"""Section 5.1.2, the third example, of which section 6 gives the CBOR."""

BASES_CBOR = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a"
    "3130653230373361303130383030363a"
    "22fb41d303a15b001062236141200500"
    "67766f6c74616765016156"
    "02fb405e066666666666"
    "a3006763757272656e74062402fb3ff3333333333333"
    "a3006763757272656e74062302fb3ff4cccccccccccd"
    "a3006763757272656e74062202fb3ff6666666666666"
    "a3006763757272656e74062102f93e00"
    "a3006763757272656e74062002fb3ff999999999999a"
    "a3006763757272656e74060002fb3ffb333333333333"
)
"""Section 6. The last record carries ``t`` 0, which the JSON leaves out."""

RESOLVED = [
    ("urn:dev:ow:10e2073a0108006:voltage", "V", "1276020076.001", "120.1"),
    ("urn:dev:ow:10e2073a0108006:current", "A", "1276020071.001", "1.2"),
    ("urn:dev:ow:10e2073a0108006:current", "A", "1276020072.001", "1.3"),
    ("urn:dev:ow:10e2073a0108006:current", "A", "1276020073.001", "1.4"),
    ("urn:dev:ow:10e2073a0108006:current", "A", "1276020074.001", "1.5"),
    ("urn:dev:ow:10e2073a0108006:current", "A", "1276020075.001", "1.6"),
    ("urn:dev:ow:10e2073a0108006:current", "A", "1276020076.001", "1.7"),
]
"""The same pack resolved (section 5.1.3's form)."""

TYPES = """[
  {"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
  {"n":"label","vs":"Machine Room"},
  {"n":"open","vb":false},
  {"n":"nfc-reader","vd":"aGkgCg"}
]"""
"""Section 5.1.5: multiple data types."""

COLLECTION = """[
  {"bn":"2001:db8::1/","bver":10,"n":"temperature","u":"Cel","v":27.2},
  {"n":"humidity","u":"%RH","v":80}
]"""
"""Section 5.1.6's form: a collection of resources."""
