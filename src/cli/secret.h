/* cli/secret.h - passwords from people, files and pipes, and their hashes
 *
 * Never from the command line, where every user of the machine reads them.
 *
 * Threads: one.
 */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

#include <stdbool.h>

#include "base/buf.h"

#define SECRET_BYTES 511u /* at most, as crypt(3) takes it */

/* file NULL: asked for twice at a terminal, or one line of standard input when that is none; "-": that line;
 * else the file's text without its line end. False after a line on stderr. Wipe it with secret_fini(). */
bool secret_read(const char *command, const char *file, struct buf *out);
void secret_fini(struct buf *secret);

/* As yescrypt, "$y$...", with a fresh salt; to free(). NULL: libcrypt cannot. */
char *secret_hash(struct view secret);

#endif
