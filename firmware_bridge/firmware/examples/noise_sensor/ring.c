#include "ring.h"

#include <string.h>

ring_pack *ring_room(ring *packs)
{
    ring_pack *pack = &packs->packs[packs->next];
    packs->next = (packs->next + 1) % RING_PACKS;
    memset(pack, 0, sizeof *pack);
    return pack;
}

int ring_drop(ring *packs, const uint8_t id[32])
{
    for (unsigned i = 0; i < RING_PACKS; i++) {
        ring_pack *pack = &packs->packs[i];
        if (pack->size != 0 && memcmp(pack->head, id, sizeof pack->head) == 0) {
            pack->size = 0;
            return 1;
        }
    }
    return 0;
}

unsigned ring_count(const ring *packs)
{
    unsigned count = 0;
    for (unsigned i = 0; i < RING_PACKS; i++) {
        count += packs->packs[i].size != 0;
    }
    return count;
}
