/* Sealed packs that wait for their acknowledgement. In RAM: a power cut takes them. */
#ifndef RING_H
#define RING_H

#include <stddef.h>
#include <stdint.h>

#define RING_PACKS 16
#define RING_BYTES 512

typedef struct ring_pack {
    int64_t sent_ms;
    uint16_t size;   /* 0: free */
    uint8_t head[16]; /* first bytes of the envelope's identity */
    uint8_t bytes[RING_BYTES];
} ring_pack;

typedef struct ring {
    ring_pack packs[RING_PACKS];
    unsigned next;
} ring;

/* Room for another pack: the oldest goes when all are taken. */
ring_pack *ring_room(ring *packs);

/* Let go of the pack with this identity: 1, or 0 when there is none. */
int ring_drop(ring *packs, const uint8_t id[32]);

/* How many wait. */
unsigned ring_count(const ring *packs);

#endif
