/* Runs a fuzz target over cases from the input: each with its size in four bytes before it. For builds
 * with sanitizers and for compilers without libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(void)
{
    uint8_t head[4];
    unsigned long cases = 0;

    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        size_t size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        uint8_t *data = malloc(size ? size : 1);
        if (data == NULL || fread(data, 1, size, stdin) != size) {
            free(data);
            return 2;
        }
        (void)LLVMFuzzerTestOneInput(data, size);
        free(data);
        cases++;
    }
    printf("%lu\n", cases);
    return 0;
}
