/* Whatever the tables hold: they are refused with a reason, or make a hierarchy that judges. The
 * input is the text of one table, tried at each kind of place. */
#include <stdint.h>

#include "base/check.h"
#include "wis2/hierarchy_tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const rest[][2] = {
	{"channel.csv", "Name\norigin\ncache\n"},
	{"version.csv", "Name\na\n"},
	{"system.csv", "Name\nwis2\n"},
	{"notification-type.csv", "Name\ndata\nmetadata\n"},
	{"data-policy.csv", "Name\ncore\nrecommended\n"},
	{"centre-id.csv", "Name\nde-dwd\n"},
	{"earth-system-discipline/index.csv", "Name\nweather\n"},
};

static void judge(const struct hierarchy *h)
{
	static const char topic[] = "origin/a/wis2/de-dwe/data/core/weather/a/b";
	struct topic_options options = {.all = true};
	struct topic_parts parts;
	struct findings found;

	topic_judge(h, view_of(topic), &options, &parts, &found);
}

static void try_at(const char *path, struct view csv)
{
	struct hierarchy_tables *t = hierarchy_tables_new();
	struct buf why = {0};
	struct hierarchy *h = NULL;
	bool good = hierarchy_tables_add(t, view_of(path), csv, &why);

	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]) && good; i++)
		good = hierarchy_tables_add(t, view_of(rest[i][0]), view_of(rest[i][1]), &why);
	if (good)
		h = hierarchy_tables_finish(t, VIEW(""), &why);
	check((h == NULL) == (buf_length(&why) > 0));
	if (h)
		judge(h);
	hierarchy_unref(h);
	hierarchy_tables_free(t);
	buf_fini(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"channel.csv", "centre-id.csv",
		"earth-system-discipline/index.csv", "earth-system-discipline/weather/index.csv",
		"earth-system-discipline/weather/a/index.csv",
		"earth-system-discipline/weather/index-flat.csv"};
	static const char empty[1];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		try_at(paths[i], (struct view){size ? (const char *)data : empty, size});
	return 0;
}
