/* cli/export_files.h - which files make up a configuration, and what they are called in an archive
 *
 *     /etc/isobar/isobar.yaml           configuration/isobar.yaml
 *     /etc/isobar/tls/key.pem           configuration/tls/key.pem     as it is named in there
 *     /etc/isobar/sources.d/de-dwd.yaml sources/de-dwd.yaml
 *     /etc/isobar/accounts.yaml         accounts/accounts.yaml
 *     /srv/secret                       none: outside the configuration's folder
 *
 * A file counts when the configuration, a source or an account names it and it is there; only those
 * below the configuration's own folder go along, so that nothing is ever written elsewhere when the
 * archive is unpacked.
 *
 * Threads: one.
 */
#ifndef CLI_EXPORT_FILES_H
#define CLI_EXPORT_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cli/config.h"

enum export_part {
#define X(part, name, help) part,
#include "cli/export_part.def"
#undef X
	PART_COUNT
};

/* From the words of --without; false after a line on stderr. */
struct argument_list;
bool export_parts(const char *command, const struct argument_list *without, bool parts[PART_COUNT]);
/* Their names with blanks between, those that are `wanted` or not. */
void export_part_names(const bool parts[PART_COUNT], bool wanted, struct buf *out);

struct export_file {
	char *name; /* in the archive */
	char *path;
};

struct export_files {
	struct export_file *at;
	uint32_t count;
	struct buf outside; /* paths named and left out, one a line */
};

/* Of the parts wanted. Zero-initialised before. */
void export_files_collect(
	struct export_files *f, const struct config *c, const bool parts[PART_COUNT]);
void export_files_fini(struct export_files *f);

#endif
