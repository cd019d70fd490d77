/* base/mem.h - heap memory that is either there or ends the process
 *
 * Every size a peer controls is compared with a limit before anything is
 * allocated, so running out of memory cannot be provoked from outside; when it
 * happens all the same the process aborts and the next start recovers from disk.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/view.h"

/* Zeroed; the caller frees with free(). */
void *mem_new(size_t bytes);

/* Like realloc(); bytes > 0. */
void *mem_resize(void *p, size_t bytes);

/* NUL-terminated copies; the caller frees. mem_text(NULL) gives NULL. */
char *mem_text(const char *text);
char *mem_text_of(struct view v);

/* A formatted string; the caller frees. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
