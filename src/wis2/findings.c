#include "wis2/findings.h"

#include <string.h>

struct finding *findings_add(struct findings *f, enum findings_keep keep, enum rule rule,
	uint32_t offset, const char *reason)
{
	uint32_t at = f->count;
	struct finding *finding;

	while (at > 0 && f->at[at - 1].rule > rule)
		at--;
	if (at == keep || (at > 0 && f->at[at - 1].rule == rule))
		return NULL;
	if (f->count == keep)
		f->count--;
	memmove(&f->at[at + 1], &f->at[at], (f->count - at) * sizeof(f->at[0]));
	f->count++;
	finding = &f->at[at];
	finding->rule = rule;
	finding->offset = offset;
	finding->level = 0;
	finding->path[0] = '\0';
	finding->reason = reason;
	finding->nearest = (struct view){NULL, 0};
	return finding;
}
