/* cli/account_text.h - changing one entry of an accounts file, and nothing else in it
 *
 * The file is a person's: comments, order and everything about other accounts stay as they are. That takes a
 * list written line by line, as every example is ("- user: name"); one in brackets is left to its author.
 *
 * Pure. Threads: any.
 */
#ifndef CLI_ACCOUNT_TEXT_H
#define CLI_ACCOUNT_TEXT_H

#include <stdbool.h>

#include "base/buf.h"

enum account_change {
	ACCOUNT_CHANGED,
	ACCOUNT_ABSENT,    /* no such entry */
	ACCOUNT_PRESENT,   /* there is one already */
	ACCOUNT_UNWRITTEN, /* not a list written line by line */
};

struct account_draft {
	const char *user;
	const char *password_hash;
	const char *const *read;
	uint32_t read_count;
	const char *const *write;
	uint32_t write_count;
	const char *const *pages;
	uint32_t page_count;
	bool admin;
};

/* Each appends the whole new text to out. An empty text (no file) begins with the account that everybody
 * has without a file, as that would be gone otherwise. */
enum account_change account_text_add(
	struct view text, const struct account_draft *draft, struct buf *out);
enum account_change account_text_remove(struct view text, const char *user, struct buf *out);
/* In place of its password or hash. */
enum account_change account_text_set_hash(
	struct view text, const char *user, const char *password_hash, struct buf *out);

#endif
