/* cli/yaml.h - a YAML text as a tree whose every node knows its line and column
 *
 * One document, no anchors or aliases (so a tree is never larger than its text), at most
 * YAML_LARGEST bytes and YAML_DEPTH levels. Scalars stay the words they are: what `no` means is
 * for the key to say.
 */
#ifndef CLI_YAML_H
#define CLI_YAML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "cli/fault.h"

#define YAML_LARGEST (4u << 20)
#define YAML_DEPTH 16u

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
	enum yaml_kind kind;
	uint32_t line; /* from 1 */
	uint32_t column;
	bool quoted;         /* scalar: in quotes or a block, so never null */
	char *tag;           /* "!file", "" when none; owned */
	char *text;          /* scalar: NUL-terminated, holds no other NUL; owned */
	struct yaml **items; /* list: values; map: key, value, key, value ... */
	uint32_t count;      /* of items */
	uint32_t room;
};

/* The root, to yaml_free(); NULL when the text has no value at all, or after faults. `file` names
 * the text in faults. */
struct yaml *yaml_read(struct view text, const char *file, struct faults *faults);
void yaml_free(struct yaml *y);

/* An empty place: `key:` with nothing behind it, ~ or null. */
bool yaml_is_null(const struct yaml *y);

#endif
