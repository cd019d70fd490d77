/* catalogue/book_pair.h - one pair of the book, as its two files see it */
#ifndef CATALOGUE_BOOK_PAIR_H
#define CATALOGUE_BOOK_PAIR_H

#include "catalogue/book.h"

/* Its text is its key: the id, a tab, the tail. */
struct book_pair {
	uint64_t seen_ms;
	uint16_t lists; /* one bit a place: it is in that list */
	bool gone;      /* its deletion was notified */
	uint16_t id_length;
	uint16_t length;
	char text[];
};

static inline struct view pair_id(const struct book_pair *p)
{
	return (struct view){p->text, p->id_length};
}

static inline struct view pair_tail(const struct book_pair *p)
{
	return view_skip((struct view){p->text, p->length}, p->id_length + 1u);
}

/* The pair, made if there is none. NULL: the book is full, or the texts are not of the form. */
struct book_pair *book_pair(struct book *b, struct view id, struct view tail);

#endif
