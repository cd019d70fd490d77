/* journal/guard.h - maps whose faults name the file
 *
 * A page of a map that the disk cannot give raises SIGBUS. The handler of journal_guard_sigbus()
 * looks the address up in a table of all maps made here and leaves a marker for the next start.
 *
 * Threads: any.
 */
#ifndef JOURNAL_GUARD_H
#define JOURNAL_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* A shared read-only map of the file's first n bytes, or NULL (errno). dir stays open as long as
 * the map; kind is static. */
uint8_t *guard_map(int fd, size_t n, int dir, uint32_t number, const char *kind);
/* p may be NULL. */
void guard_unmap(uint8_t *p, size_t n);

#endif
