/* For signers on P-256: of the two values that s may have, the lower one is on the wire. */
#include <string.h>

#include "depin/depin.h"

void depin_p256_low(uint8_t signature[64])
{
    static const uint8_t order[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    };
    uint8_t *s = signature + 32;
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
