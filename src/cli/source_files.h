/* cli/source_files.h - changing the sources folder
 *
 * A file is replaced as a whole and only by one that `isobar check` would take, so a broker that
 * reads the folder at any moment finds it sound.
 *
 * Threads: one.
 */
#ifndef CLI_SOURCE_FILES_H
#define CLI_SOURCE_FILES_H

#include <stdbool.h>

#include "base/view.h"
#include "cli/config.h"

/* "FOLDER/NAME.yaml"; the caller frees. NULL, with a line on stderr, when that is no name. */
char *source_file(const struct config *c, const char *name);

/* Writes the text as a source of that name. 0, CLI_USAGE when it is no sound source, CLI_NO when
 * there is one and replace is false, CLI_ENVIRONMENT; each but 0 after a line on stderr. */
int source_file_write(const struct config *c, const char *name, struct view text, bool replace);

/* Appends the file's text with the key `enabled` as given; false when the file is not of a shape in
 * which that is one line. */
bool source_text_enable(struct view text, bool enabled, struct buf *out);

#endif
