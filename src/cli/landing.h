/* cli/landing.h - where the parts of an archive go, and putting them there
 *
 *     DATA_DIR/import.new/journal/...   while it is read and checked
 *     DATA_DIR/journal/...              at the end, by renaming
 *     DATA_DIR/replaced-TIME/...        what was there before, with --replace
 *     FILE.replaced-TIME                likewise a file of the configuration
 *
 * Files of the configuration wait in memory, as where they go is only known once they were read.
 * Nothing outside import.new changes before landing_install().
 *
 * Each function says on stderr what is wrong, and gives an exit status of cli.h.
 *
 * Threads: one.
 */
#ifndef CLI_LANDING_H
#define CLI_LANDING_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "cli/config.h"
#include "cli/tar.h"

#define LANDING_FILE_LARGEST (16u << 20) /* of the configuration */
#define LANDING_FILES_LARGEST (256u << 20)

/* A file of the configuration, as it was in the archive. */
struct landing_file {
	struct tar_member member;
	struct buf content;
};

struct landing {
	const char *file; /* the configuration; NULL: none, built-in defaults */
	const char *
		main_name; /* how it is called below configuration/; NULL: it is not in the archive */
	bool replaces;
	struct landing_file *files;
	uint32_t count;
	uint64_t bytes;
	struct config *config; /* what it says where things go; NULL: not yet known */
	char *staging;         /* DATA_DIR/import.new, once it is there */
	char *stamp;           /* "replaced-20261123T024847Z" */
	uid_t owner;           /* of the data, when root may choose */
	gid_t group;
	bool is_owned;
	bool has_made_data_dir;
};

void landing_fini(struct landing *p);

/* Room for one more file; NULL, after a line on stderr, when it is too much. */
struct landing_file *landing_add(struct landing *p, const struct tar_member *m);

/* All files of the configuration are there: finds data_dir, checks that nothing is in the way and nobody at
 * work, makes import.new. bytes: what is still to come, 0 when that is not known. */
int landing_prepare(struct landing *p, uint64_t bytes);

/* A new file of this name below import.new: a descriptor, or -1 after a line on stderr. */
int landing_create(struct landing *p, const struct tar_member *m, const char *name);

/* Everything is right: puts all of it where it belongs. */
int landing_install(struct landing *p);

/* Removes import.new, and data_dir when it was made for it: nothing has changed. */
void landing_abandon(struct landing *p);

#endif
