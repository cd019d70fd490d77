/* Whatever Redis says is a session's passport, reading it ends with a row or an error. */
#include "broker/passport.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once, left to the system. */
static struct passport_desk *desk(void)
{
	static struct passport_desk d;
	static struct journal_reader reader;
	char dir[] = "/tmp/isobar-passport-fuzz-XXXXXX";
	char *why = NULL;

	if (d.commit)
		return &d;
	if (mkdtemp(dir) == NULL)
		abort();
	if (commit_open(&d.commit,
		    &(struct commit_config){.journal = {.dir = dir,
						    .keep_ms = 3600000,
						    .size_bytes = 16u << 20,
						    .index_keep_ms = 3600000,
						    .least_ms = 3600000,
						    .sync = JOURNAL_SYNC_NEVER},
			    .window_ms = 3600000,
			    .ids = 1000},
		    &why) < 0)
		abort();
	d.journal = commit_journal(d.commit);
	d.reader = &reader;
	journal_reader_open(d.journal, &reader);
	return &d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct passport p;

	if (passport_read(desk(), (struct view){(const char *)data, size},
		    (struct view){(const char *)data, size}, &p) == 0)
		passport_fini(&p);
	return 0;
}
