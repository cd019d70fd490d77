/* Whatever an .env file holds: it is refused, or makes YAML that can be read; and every note is a line. */
#include <stdint.h>

#include "base/check.h"
#include "cli/config_keys.h"
#include "cli/import_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_back(struct view yaml)
{
	struct buf text = {0};
	struct faults faults = {&text, 0};
	struct config_reader r = {&faults, "fuzz", "/nonexistent/", ""};
	struct source_config source;
	struct config config = {0};

	gate_settings_default(&config.checks);
	config_read_source(&r, yaml, "fuzz", &config, &source);
	source_config_fini(&source);
	buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char empty[1];
	struct buf yaml = {0}, notes = {0};
	struct view centre;
	bool made = import_env((struct view){size ? (const char *)data : empty, size},
		VIEW("de-dwd"), &yaml, &notes, &centre);

	check(made == (buf_length(&yaml) > 0));
	check(centre.n > 0);
	if (made)
		read_back(buf_view(&yaml));
	if (buf_length(&notes))
		check(view_ends_with(buf_view(&notes), VIEW("\n")));
	buf_fini(&yaml);
	buf_fini(&notes);
	return 0;
}
