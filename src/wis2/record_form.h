/* wis2/record_form.h - what the readers of the three forms share (wis2/record_list.h) */
#ifndef WIS2_RECORD_FORM_H
#define WIS2_RECORD_FORM_H

#include "base/buf.h"
#include "wis2/record_list.h"

/* Where a reader of items stands in the text; zero-initialised is before it. */
struct items {
	uint64_t arrays;     /* one bit a level: it is an array */
	unsigned depth;      /* brackets open */
	unsigned part_depth; /* at which the part kept began; 0: none is kept */
	bool in_string;
	bool escaped;
	bool in_name;   /* the string is a member's name of the page itself */
	bool name_next; /* the next string is one */
	bool part_too_long;
	bool has_features;
	bool is_done;
	uint8_t name_length;
	char name[12]; /* the last one, as far as it fits */
};

struct record_form;

struct record_list {
	const struct record_form *form; /* NULL: nothing but white space so far */
	record_on_pair *on_pair;
	void *context;
	struct record_list_figures figures;
	const char *fault;
	char *next;      /* owned, or NULL */
	struct buf kept; /* part of a page, an archive, or a line that is not whole */
	struct items items;
};

struct record_form {
	int (*feed)(struct record_list *l, const char *bytes, size_t n);
	int (*finish)(struct record_list *l);
};

/* Notes the fault and gives err. */
int record_list_fail(struct record_list *l, int err, const char *why);
/* Reads one record and counts it. */
void record_list_take(struct record_list *l, struct view json);

int items_feed(struct record_list *l, const char *bytes, size_t n);
int items_finish(struct record_list *l);
int archive_feed(struct record_list *l, const char *bytes, size_t n);
int archive_finish(struct record_list *l);

#endif
