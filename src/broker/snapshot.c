#include "broker/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "broker/persist.h"
#include "broker/retained_inside.h"
#include "broker/worker.h"

static int copy_to(struct store *s, const char *dir, const char *name, void (*alive)(void *context),
	void *context)
{
	char *path = mem_printf("%s/%s", dir, name);
	int err = s ? store_copy(s, path, alive, context) : 0;
	int why = errno;

	free(path);
	errno = why;
	return err;
}

int broker_snapshot(struct broker *b, const char *dir, void (*alive)(void *context), void *context)
{
	int err = mkdir(dir, 0750) == 0 || errno == EEXIST ? 0 : ERR_SYSTEM;

	if (err == 0)
		err = copy_to(b->store, dir, "sessions", alive, context);
	if (err == 0)
		err = copy_to(b->retained->store, dir, "retained", alive, context);
	return err;
}

static int check_one(const char *dir, const char *name, const struct store_kind *kind,
	uint64_t *rows, char **why)
{
	char *path = mem_printf("%s/%s", dir, name);
	char *opening = mem_printf("%s/opening", path);
	struct store_config config = {.kind = kind, .dir = path};
	struct store_figures figures;
	struct store *s;
	int err = 0;

	if (access(path, F_OK) == 0) {
		err = store_open(&s, &config, why);
		if (err == 0) {
			store_figures(s, &figures);
			*rows = figures.rows;
			store_close(s);
		}
		unlink(opening); /* this was no start */
	}
	free(opening);
	free(path);
	return err;
}

int snapshot_check(const char *dir, struct snapshot_figures *out, char **why)
{
	struct snapshot_figures found = {0};
	int err = check_one(dir, "sessions", &persist_kind, &found.sessions, why);

	if (err == 0)
		err = check_one(dir, "retained", &retained_kind, &found.retained, why);
	if (err == 0)
		*out = found;
	return err;
}
