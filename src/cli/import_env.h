/* cli/import_env.h - a source from the .env file of an existing antiloop
 *
 * Pure: text in, the text of sources.d/NAME.yaml out, and a note for every key that could not be
 * taken as it is. KEY=VALUE a line; a # begins a comment at the start or behind a blank (topics end
 * in /#); one pair of quotes round a value is taken off; nothing is expanded.
 *
 * Threads: any.
 */
#ifndef CLI_IMPORT_ENV_H
#define CLI_IMPORT_ENV_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/view.h"

/* name: the file's without .env, the centre when the text names none. Appends the YAML to out and
 * lines "KEY: what became of it\n" to notes; *centre is what the file is of, inside text or name.
 * False: there is no address in it. */
bool import_env(struct view text, struct view name, struct buf *out, struct buf *notes,
	struct view *centre);

#endif
