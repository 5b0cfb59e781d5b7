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

int depin_hash(const depin_device *device, const depin_bytes *parts, size_t count, uint8_t *digest)
{
    const depin_signer *signer = device->config.signer;
    return signer->hash(signer->context, parts, count, digest);
}

void depin_put_headers(depin_writer *writer, const depin_device *device, unsigned labels,
                       const depin_bytes *type)
{
    depin_put_byte(writer, DEPIN_CBOR_MAP + labels);
    depin_put_byte(writer, 1);
    depin_put_byte(writer, device->config.signer->curve == DEPIN_ED25519 ? 0x32 : 0x28);
    depin_put(writer, type->data, type->size);
    depin_put_byte(writer, 4);
    depin_put_string(writer, DEPIN_CBOR_BYTES, device->thumbprint, 8);
}

void depin_signed_parts(depin_signed *what, const char *network, const char *kind,
                        const uint8_t *thumbprint, const uint8_t *header, const uint8_t *middle,
                        const uint8_t *end)
{
    static const uint8_t domain[9] = {0x84, 0x67, 'd', 'e', 'p', 'i', 'n', '/', '1'};
    size_t network_size = depin_length(network);
    depin_bytes *parts = what->parts;
    depin_writer aad = {what->between, sizeof what->between, 0};
    /* ["depin/1", kind, network, thumbprint]; the network's text has 24 to 255 bytes. */
    depin_put_head(&aad, DEPIN_CBOR_BYTES,
                   sizeof domain + 1 + depin_length(kind) + 2 + network_size + 34);
    depin_put(&aad, domain, sizeof domain);
    depin_put_text(&aad, kind);
    depin_put_head(&aad, DEPIN_CBOR_TEXT, network_size);
    parts[0].data = (const uint8_t *)"\x84\x6aSignature1";
    parts[0].size = 12;
    parts[1].data = header;
    parts[1].size = (size_t)(middle - header);
    parts[2].data = what->between;
    parts[2].size = aad.size;
    parts[3].data = (const uint8_t *)network;
    parts[3].size = network_size;
    parts[4].data = (const uint8_t *)"\x58\x20";
    parts[4].size = 2;
    parts[5].data = thumbprint;
    parts[5].size = 32;
    parts[6].data = middle + 1;
    parts[6].size = (size_t)(end - middle - 1);
}

int depin_sign1(depin_device *device, const char *kind, const uint8_t *header,
                const uint8_t *middle, uint8_t *end)
{
    const depin_signer *signer = device->config.signer;
    depin_signed what;
    depin_signed_parts(&what, device->config.network, kind ? kind : "envelope", device->thumbprint,
                       header, middle, end);
    uint8_t digest[32];
    if (depin_hash(device, what.parts, DEPIN_SIGNED_PARTS, digest)) {
        return DEPIN_E_SIGN;
    }
    if (!kind) {
        /* Before the signer sees it: whatever comes of it, nothing else is signed here. */
        memcpy(device->prev, digest, sizeof device->prev);
        device->next++;
    }
    *end++ = 0x58;
    *end++ = DEPIN_SIGNATURE;
    return (signer->sign_message
                ? signer->sign_message(signer->context, what.parts, DEPIN_SIGNED_PARTS, end)
                : signer->sign_digest(signer->context, digest, end))
               ? DEPIN_E_SIGN
               : DEPIN_OK;
}
