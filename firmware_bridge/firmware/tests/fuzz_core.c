/* A case of the corpus with sanitizers: what an application may ask of the core, wrong things too. */
#include "replay.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[65536];
    (void)depin_replay(data, size, out, sizeof out);
    return 0;
}
