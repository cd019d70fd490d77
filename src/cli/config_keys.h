/* cli/config_keys.h - the table of config.def and how values get into structs
 *
 * A key is known by section (which struct it goes to) and dotted name. Reading walks a YAML mapping
 * beside the table; every value is judged where it stands, so that a fault knows its place.
 *
 * Threads: any; a reader is used by one at a time.
 */
#ifndef CLI_CONFIG_KEYS_H
#define CLI_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "broker/account.h"
#include "cli/config.h"
#include "cli/fault.h"
#include "cli/quantity.h"
#include "cli/yaml.h"

enum config_section {
	SECTION_CONFIG,   /* struct config */
	SECTION_LISTENER, /* struct config_listener */
	SECTION_SOURCE,   /* struct source_config */
	SECTION_ENDPOINT, /* struct uplink_endpoint */
	SECTION_PUBLISH,  /* struct publish_config */
	SECTION_ACCOUNT,  /* struct account_entry */
};

struct account_entry {
	struct account account;
	bool anonymous;
};

struct config_key;

/* Where a value is read from: the file at hand, and what stands before names in faults. */
struct config_reader {
	struct faults *faults;
	const char *file;
	const char *folder; /* relative paths begin here; ends with / or is "" */
	const char *path;   /* "listeners." inside that list, else "" */
};

/* One value, judged. */
struct config_value {
	struct view text; /* as written, names replaced; NUL-terminated */
	const char *folder;
	bool secret; /* never to be shown: from !file, the environment, or by type */
	void *owner; /* the section's struct, for types that fill two fields; may be NULL */
	/* Results: either a number or a text. */
	uint64_t number;
	char *made;        /* owned by the value */
	const char *wrong; /* set to override what the type says, static */
	const char *right;
	char bound[QUANTITY_TEXT_BYTES]; /* the one passed, or "" */
};
/* False: not of the type, or of no use; *v says why. */
typedef bool config_judge(const struct config_key *k, struct config_value *v);
/* A shape of its own; adds its faults itself. */
typedef void config_read_tree(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner);

struct config_type {
	const char *name;
	const char *wrong;
	const char *right;
	config_judge *one;
	bool is_text;       /* what `one` makes is stored as a text, else as a number */
	config_judge *item; /* of a list; results are not used */
	config_read_tree *tree;
};

enum config_type_number {
#define ONE(name, function, wrong, right) TYPE_##name,
#define LINE(name, function, wrong, right) TYPE_##name,
#define MANY(name, function, wrong, right) TYPE_##name,
#define TREE(name, function) TYPE_##name,
#include "cli/config_type.def"
#undef ONE
#undef LINE
#undef MANY
#undef TREE
	TYPE_COUNT
};
const struct config_type *config_type(enum config_type_number n);

struct config_key {
	enum config_section section;
	const char *name;
	enum config_type_number type;
	size_t offset; /* in the section's struct */
	size_t size;
	size_t count_offset; /* of a list's count */
	const char *fallback;
	uint64_t least;
	uint64_t most;
	const char *words; /* parted by | */
	const char *help;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* --- reading (config_read.c) ------------------------------------------ */

struct place config_place(const struct config_reader *r, const struct yaml *y);

/* Adds a fault at y about a key; name without the reader's path. */
void config_fault(const struct config_reader *r, const struct yaml *y, const char *name,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Puts every fallback of the section into owner (zeroed, or read before). */
void config_defaults(enum config_section section, void *owner);

/* Reads a mapping (null: nothing set) into owner. prefix "" at the top, else "limits." */
void config_read_map(struct config_reader *r, enum config_section section, const char *prefix,
	const struct yaml *map, void *owner);

/* A scalar with ${NAME} replaced and !file read; to buf_fini(). False after a fault. */
bool config_expand(struct config_reader *r, const char *name, const struct yaml *y, struct buf *out,
	bool *secret);

/* Reads one scalar value of a row into owner, or adds a fault. */
void config_read_one(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner);
/* The row, or NULL. */
const struct config_key *config_key_find(enum config_section section, const char *name);

/* Value of a key of a map as written, or NULL. */
const struct yaml *config_find(const struct yaml *map, const char *name);

/* Reads a whole file of at most YAML_LARGEST bytes. 0 or ERR_SYSTEM (errno). Regular files only. */
int config_read_file(const char *path, struct buf *out);

/* folder and path joined, or path when absolute; the caller frees. */
char *config_path(const char *folder, const char *path);

/* --- shapes of their own (config_shape.c) ------------------------------ */

#define ONE(name, function, wrong, right) config_judge function;
#define LINE(name, function, wrong, right) config_judge function;
#define MANY(name, function, wrong, right) config_judge function;
#define TREE(name, function) config_read_tree function;
#include "cli/config_type.def"
#undef ONE
#undef LINE
#undef MANY
#undef TREE

bool config_is_node_name(struct view text);

/* --- files (config_source.c, config_account.c) -------------------------- */

/* One source from its text; name is the file's without .yaml. The caller finis *out in any case. */
void config_read_source(struct config_reader *r, struct view text, const char *name,
	const struct config *config, struct source_config *out);
/* Every *.yaml of the folder, into config->sources in order of name. */
void config_read_sources(struct config *config, const char *folder, struct faults *faults);

/* A set from an accounts file's text, or NULL after faults. */
struct accounts *config_read_accounts(
	struct config_reader *r, struct view text, const struct gate_settings *checks);

/* `cluster:` as a whole; fills in the node's name. */
void config_judge_cluster(
	const struct config_reader *r, const struct yaml *root, struct config *config);

/* The configuration from a text; does not follow sources and accounts_file. Gives the tree, to
 * yaml_free(); NULL when there is none. */
struct yaml *config_read_main(struct config_reader *r, struct view text, struct config *out);

#endif
