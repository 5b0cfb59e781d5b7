"""Packages for Zephyr, ESP-IDF and PlatformIO: manifests, named files, and syntax of the glue.

The headers of those systems are stand-ins of a few lines: nothing here is a build for them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.firmware.lines_c import FIRMWARE, STRICT, compiler

PORTS = FIRMWARE / "ports"
_STAND_INS = {
    "psa/crypto.h": """
#include <stddef.h>
#include <stdint.h>
typedef uint32_t psa_key_id_t; typedef int32_t psa_status_t;
typedef struct { uint32_t id, lifetime, type, bits, usage, alg; } psa_key_attributes_t;
#define PSA_SUCCESS 0
#define PSA_ERROR_ALREADY_EXISTS (-139)
#define PSA_KEY_ATTRIBUTES_INIT {0, 0, 0, 0, 0, 0}
#define PSA_KEY_LIFETIME_PERSISTENT 1u
#define PSA_ECC_FAMILY_SECP_R1 0x12u
#define PSA_KEY_TYPE_ECC_KEY_PAIR(family) (0x7100u | (family))
#define PSA_KEY_USAGE_SIGN_HASH 0x1000u
#define PSA_ALG_SHA_256 0x02000009u
#define PSA_ALG_ECDSA(hash) (0x06000600u | ((hash) & 0xFFu))
psa_status_t psa_crypto_init(void);
void psa_set_key_id(psa_key_attributes_t *, psa_key_id_t);
void psa_set_key_lifetime(psa_key_attributes_t *, uint32_t);
void psa_set_key_type(psa_key_attributes_t *, uint32_t);
void psa_set_key_bits(psa_key_attributes_t *, size_t);
void psa_set_key_usage_flags(psa_key_attributes_t *, uint32_t);
void psa_set_key_algorithm(psa_key_attributes_t *, uint32_t);
psa_status_t psa_generate_key(const psa_key_attributes_t *, psa_key_id_t *);
psa_status_t psa_generate_random(uint8_t *, size_t);
psa_status_t psa_export_public_key(psa_key_id_t, uint8_t *, size_t, size_t *);
typedef struct { uint32_t state[32]; } psa_hash_operation_t;
#define PSA_HASH_OPERATION_INIT {{0}}
psa_status_t psa_hash_setup(psa_hash_operation_t *, uint32_t);
psa_status_t psa_hash_update(psa_hash_operation_t *, const uint8_t *, size_t);
psa_status_t psa_hash_finish(psa_hash_operation_t *, uint8_t *, size_t, size_t *);
psa_status_t psa_hash_abort(psa_hash_operation_t *);
psa_status_t psa_sign_hash(psa_key_id_t, uint32_t, const uint8_t *, size_t, uint8_t *, size_t,
                           size_t *);
""",
    "zephyr/kernel.h": "#include <stdint.h>\nint64_t k_uptime_get(void);\n",
    "zephyr/settings/settings.h": """
#include <stddef.h>
#include <sys/types.h>
typedef ssize_t (*settings_read_cb)(void *, void *, size_t);
typedef int (*settings_load_direct_cb)(const char *, size_t, settings_read_cb, void *, void *);
int settings_load_subtree_direct(const char *, settings_load_direct_cb, void *);
int settings_save_one(const char *, const void *, size_t);
""",
    "esp_timer.h": "#include <stdint.h>\nint64_t esp_timer_get_time(void);\n",
    "nvs.h": """
#include <stddef.h>
#include <stdint.h>
typedef int esp_err_t; typedef uint32_t nvs_handle_t;
typedef enum { NVS_READONLY, NVS_READWRITE } nvs_open_mode_t;
#define ESP_OK 0
#define ESP_ERR_NVS_NOT_FOUND 0x1102
esp_err_t nvs_open(const char *, nvs_open_mode_t, nvs_handle_t *);
esp_err_t nvs_get_blob(nvs_handle_t, const char *, void *, size_t *);
esp_err_t nvs_set_blob(nvs_handle_t, const char *, const void *, size_t);
esp_err_t nvs_commit(nvs_handle_t);
void nvs_close(nvs_handle_t);
""",
    "Arduino.h": """
#include <stddef.h>
#include <stdint.h>
struct Port { void begin(long); int available(); int read(); size_t write(const char *, size_t); };
extern Port Serial;
void delay(unsigned long); uint32_t millis();
""",
    "Wire.h": """
#include <stddef.h>
#include <stdint.h>
struct TwoWire { void begin(); void beginTransmission(uint8_t); int endTransmission();
  size_t write(uint8_t); size_t write(const uint8_t *, size_t);
  uint8_t requestFrom(uint8_t, uint8_t); int read(); };
extern TwoWire Wire;
""",
}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headers")
    for name, text in _STAND_INS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "source", ["psa/depin_psa.c", "zephyr/depin_zephyr.c", "esp-idf/depin_esp.c"]
)
def test_the_glue_is_c(source: str, stand_ins: Path) -> None:
    include = [f"-I{stand_ins}", f"-I{FIRMWARE / 'include'}", f"-I{PORTS / 'psa'}"]
    subprocess.run(
        [compiler(), *STRICT, "-D_DEFAULT_SOURCE", "-fsyntax-only", *include, str(PORTS / source)],
        check=True,
        timeout=60,
    )


def test_the_sketch_is_cpp(stand_ins: Path) -> None:
    cpp = shutil.which("g++")
    if cpp is None:
        pytest.skip("no C++ compiler")
    sketch = PORTS / "platformio" / "examples" / "sign_a_reading" / "sign_a_reading.ino"
    include = [f"-I{stand_ins}", f"-I{FIRMWARE / 'include'}", f"-I{PORTS / 'atecc608'}"]
    command = [cpp, "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *include]
    subprocess.run([*command, "-x", "c++", str(sketch)], check=True, timeout=60)


def test_the_sketch_outlives_the_turn_of_millis(tmp_path: Path) -> None:
    sketch = PORTS / "platformio" / "examples" / "sign_a_reading" / "sign_a_reading.ino"
    found = re.search(r"static int64_t uptime\(void \*\) \{.*?\n\}\n", sketch.read_text(), re.S)
    assert found is not None
    (tmp_path / "turn.c").write_text(
        "#include <stdint.h>\n#include <stddef.h>\nstatic uint32_t now = 4294967295u;\n"
        f"static uint32_t millis(void) {{ return now; }}\n{found[0].replace('void *)', 'void *_)')}"
        "int main(void) { int64_t before = uptime(NULL); now = 5;\n"
        "  return uptime(NULL) - before == 6 ? 0 : 1; }\n"
    )
    program = str(tmp_path / "turn")
    subprocess.run([compiler(), str(tmp_path / "turn.c"), "-o", program], check=True, timeout=60)
    subprocess.run([program], check=True, timeout=60)


def test_packages_leave_no_module_out() -> None:
    modules = {path.name for path in (FIRMWARE / "src").glob("*.c")}
    for manifest in ("zephyr/CMakeLists.txt", "esp-idf/CMakeLists.txt", "platformio/library.json"):
        named = set(re.findall(r"src/([a-z0-9_]+\.c)", (PORTS / manifest).read_text()))
        # Arduino's has its key in a chip; its README says what software needs.
        without = {"ed25519.c", "sha512.c", "provision_ed25519.c"} if "json" in manifest else set()
        assert named == modules - without, manifest


def test_manifests_name_files_that_are_there() -> None:
    for port in ("zephyr", "esp-idf"):
        text = (PORTS / port / "CMakeLists.txt").read_text()
        named = re.findall(r"(?:\$\{DEPIN\}/)?[a-z0-9_/]+\.c\b", text)
        assert len(named) >= 9
        for name in named:
            base = FIRMWARE if name.startswith("${DEPIN}/") else PORTS / port
            assert (base / name.removeprefix("${DEPIN}/")).is_file(), name
    module = yaml.safe_load((PORTS / "zephyr" / "zephyr" / "module.yml").read_text())
    assert (PORTS / "zephyr" / module["build"]["kconfig"]).is_file()
    component = yaml.safe_load((PORTS / "esp-idf" / "idf_component.yml").read_text())
    library = json.loads((PORTS / "platformio" / "library.json").read_text())
    properties = dict(
        line.split("=", 1)
        for line in (PORTS / "platformio" / "library.properties").read_text().splitlines()
    )
    header = (FIRMWARE / "include" / "depin" / "depin.h").read_text()
    version = re.search(r'DEPIN_VERSION "([^"]+)"', header)
    assert version is not None
    assert {component["version"], library["version"], properties["version"]} == {version[1]}
    base = PORTS / "platformio" / library["build"]["srcDir"]
    for rule in library["build"]["srcFilter"][1:]:
        assert (base / rule.removeprefix("+<").removesuffix(">")).is_file(), rule
    for port in ("zephyr", "esp-idf", "platformio"):
        assert "not run on hardware" in (PORTS / port / "README.md").read_text()
