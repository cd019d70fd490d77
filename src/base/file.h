/* base/file.h - small files that change as a whole, and folders for them
 *
 * Whoever reads one sees the text before or the text after, never a part, also after a power failure.
 *
 * Threads: any, but not a worker's: it waits for the disk.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <sys/types.h>

#include "base/view.h"

/* Writes PATH.new and puts it in the place of PATH. One that was there keeps its owner, group and mode; a
 * new one gets `mode` and the group of its folder. 0, or ERR_SYSTEM (errno says why) with the one before
 * untouched. */
int file_replace(const char *path, struct view text, mode_t mode);

/* Makes the folder (0750) and those above it (0755) that are not there. 0 or ERR_SYSTEM (errno). */
int file_make_folder(const char *path);

#endif
