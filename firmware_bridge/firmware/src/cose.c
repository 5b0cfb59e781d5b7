/* COSE_Sign1 (RFC 9052) as the protocol uses it, section 3. */
#include <string.h>

#include "seal.h"

size_t depin_key_parts(const depin_signer *signer, uint8_t head[8], depin_bytes parts[4])
{
    /* {1: 1, -1: 6, -2: x}, or {1: 2, -1: 1, -2: x, -3: y} */
    static const uint8_t first[8] = {0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20};
    static const uint8_t second[3] = {0x22, 0x58, 0x20};
    memcpy(head, first, sizeof first);
    parts[0].data = head;
    parts[0].size = sizeof first;
    parts[1].data = signer->public_key;
    parts[1].size = 32;
    if (signer->curve == DEPIN_ED25519) {
        return 2;
    }
    head[0] = 0xa4;
    head[2] = 2;
    head[4] = 1;
    parts[2].data = second;
    parts[2].size = sizeof second;
    parts[3].data = signer->public_key + 32;
    parts[3].size = 32;
    return 4;
}

/* Replace s by n - s when that is smaller: one value has one signature on the wire. */
static void make_low(uint8_t s[32])
{
    static const uint8_t order[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    };
    uint8_t other[32];
    int carry = 0;
    for (unsigned i = 32; i-- > 0;) {
        carry += order[i] - s[i];
        other[i] = (uint8_t)carry;
        carry >>= 8;
    }
    if (memcmp(other, s, sizeof other) < 0) {
        memcpy(s, other, sizeof other);
    }
}

void depin_put_headers(depin_writer *writer, const depin_device *device, unsigned labels,
                       depin_bytes type)
{
    depin_put_byte(writer, DEPIN_CBOR_MAP + labels);
    depin_put_byte(writer, 1);
    depin_put_byte(writer, device->config.signer->curve == DEPIN_ED25519 ? 0x32 : 0x28);
    depin_put(writer, type.data, type.size);
    depin_put_byte(writer, 4);
    depin_put_string(writer, DEPIN_CBOR_BYTES, device->thumbprint, 8);
}

void depin_signed_parts(depin_signed *what, const char *network, const char *kind,
                        const uint8_t thumbprint[32], depin_bytes protected_header,
                        depin_bytes payload)
{
    static const uint8_t domain[9] = {0x84, 0x67, 'd', 'e', 'p', 'i', 'n', '/', '1'};
    size_t network_size = depin_length(network);
    size_t kind_size = depin_length(kind);
    depin_writer aad = {what->between, sizeof what->between, 0};
    /* ["depin/1", kind, network, thumbprint]; the network's text has 24 to 255 bytes. */
    depin_put_head(&aad, DEPIN_CBOR_BYTES, sizeof domain + 1 + kind_size + 2 + network_size + 34);
    depin_put(&aad, domain, sizeof domain);
    depin_put_string(&aad, DEPIN_CBOR_TEXT, kind, kind_size);
    depin_put_head(&aad, DEPIN_CBOR_TEXT, network_size);
    const depin_bytes parts[DEPIN_SIGNED_PARTS] = {
        {(const uint8_t *)"\x84\x6aSignature1", 12},
        protected_header,
        {what->between, aad.size},
        {(const uint8_t *)network, network_size},
        {(const uint8_t *)"\x58\x20", 2},
        {thumbprint, 32},
        payload,
    };
    memcpy(what->parts, parts, sizeof parts);
}

int depin_sign1(depin_device *device, const char *kind, depin_bytes protected_header,
                depin_bytes payload, int position, uint8_t *out)
{
    const depin_signer *signer = device->config.signer;
    depin_signed what;
    depin_signed_parts(&what, device->config.network, kind, device->thumbprint, protected_header,
                       payload);
    uint8_t digest[32];
    depin_sha256(what.parts, DEPIN_SIGNED_PARTS, digest);
    if (position) {
        /* Before the signer sees it: whatever comes of it, nothing else is signed here. */
        memcpy(device->prev, digest, sizeof device->prev);
        device->next++;
    }
    out[0] = 0x58;
    out[1] = DEPIN_SIGNATURE;
    const depin_bytes *parts = what.parts;
    if (signer->sign_message
            ? signer->sign_message(signer->context, parts, DEPIN_SIGNED_PARTS, out + 2)
            : signer->sign_digest(signer->context, digest, out + 2)) {
        return DEPIN_E_SIGN;
    }
    if (signer->curve == DEPIN_P256) {
        make_low(out + 2 + 32);
    }
    return DEPIN_OK;
}
