/* Non-volatile storage in files of the emulator's working folder: a stand-in for flash.
 *
 * A file is emptied, written and closed. It outlives the emulator, killed however; a power cut of
 * the computer that emulates it may take it, for nothing here can flush that computer's caches.
 */
#ifndef STORAGE_FILE_H
#define STORAGE_FILE_H

#include "depin/depin.h"

extern const depin_storage storage_file;

/* Both give 0, or not 0. A file that is not there reads as ones, as erased flash does. */
int storage_file_load(const char *name, void *data, size_t size);
int storage_file_store(const char *name, const void *data, size_t size);

#endif
