/* Bytes as a configuration file, a source or an accounts file, by their first byte: whatever they
 * are, the loader ends with a configuration or with faults, and gives everything back. */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "cli/config_keys.h"

/* No file is beside these. */
#define FOLDER "/nonexistent/"

static void read_configuration(struct config_reader *r, struct view text)
{
	struct config *c = mem_new(sizeof(*c));

	yaml_free(config_read_main(r, text, c));
	config_free(c);
}

static void read_source(struct config_reader *r, struct view text)
{
	struct source_config source;
	struct config config = {0};

	gate_settings_default(&config.checks);
	config_read_source(r, text, "fuzz", &config, &source);
	source_config_fini(&source);
}

static void read_accounts(struct config_reader *r, struct view text)
{
	struct gate_settings checks;
	struct accounts *set;

	gate_settings_default(&checks);
	set = config_read_accounts(r, text, &checks);
	check((set == NULL) == (r->faults->count > 0));
	accounts_unref(set);
}

/* libfyaml 0.7.12 keeps the text buffer of a quoted scalar that ends in certain faults: at most a
 * few KiB for each faulty file that an operator reads. What we forget of the library's shows in the
 * unit tests, which run without this. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf lines = {0};
	struct faults faults = {&lines, 0};
	struct config_reader r = {&faults, "fuzz.yaml", FOLDER, ""};
	struct view text = {(const char *)data + 1, size - 1};

	if (size < 2)
		return 0;
	switch (data[0] % 3) {
	case 0:
		read_configuration(&r, text);
		break;
	case 1:
		read_source(&r, text);
		break;
	default:
		read_accounts(&r, text);
	}
	check((faults.count > 0) == (buf_length(&lines) > 0));
	buf_fini(&lines);
	return 0;
}
