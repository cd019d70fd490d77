/* cli/version.c - `isobar version`: versions of program, formats, hierarchy and libraries */
#include <curl/curl.h>
#include <jansson.h>
#include <libfyaml.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <xxhash.h>
#include <zip.h>
#include <zlib.h>

#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "journal/journal.h"
#include "wis2/topic.h"

#ifdef __OPTIMIZE__
#define OPTIMIZED "optimized"
#else
#define OPTIMIZED "not optimized"
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED ", address sanitizer"
#elif defined(__SANITIZE_THREAD__)
#define SANITIZED ", thread sanitizer"
#else
#define SANITIZED ""
#endif

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

struct version_options {
	const char *file;
};

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, offsetof(struct version_options, file), 0, 0, "FILE",
		"configuration whose topic hierarchy is meant (default: /etc/isobar/isobar.yaml)"},
};

static const struct argument_table table = {"isobar version [-c FILE]",
	"Prints versions of program, on-disk format, topic hierarchy, build and libraries. Exit\n"
	"status 2 when the configuration has faults; the topic hierarchy is then the built-in one.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* The hierarchy the configuration names; faults go to stderr. */
static bool print_hierarchy(const char *file)
{
	struct config *config = NULL;
	struct buf faults = {0};
	bool good = config_load(file, &config, &faults) == 0;

	if (buf_length(&faults))
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
	printf("topic hierarchy %s (%s)\n", hierarchy_version(config->hierarchy),
		config->topic_hierarchy && good ? config->topic_hierarchy : "built-in");
	buf_fini(&faults);
	config_free(config);
	return good;
}

int cli_version(int argc, char **argv)
{
	struct version_options options = {0};
	int rest = arguments_read(&table, argc, argv, &options);
	bool good;

	if (rest < 0)
		return arguments_status(rest);
	printf("isobar %s\n", ISOBAR_VERSION);
	printf("on-disk format %d\n", JOURNAL_FORMAT);
	good = print_hierarchy(options.file);
	printf("build %s, %s%s\n", COMPILER, OPTIMIZED, SANITIZED);
	printf("libraries %s, libfyaml %s, jansson %s, zlib %s, libzip %s, "
	       "libcurl %s, %s, xxHash %u.%u.%u\n",
		OpenSSL_version(OPENSSL_VERSION), fy_library_version(), jansson_version_str(),
		zlibVersion(), zip_libzip_version(), curl_version_info(CURLVERSION_NOW)->version,
		mdb_version(NULL, NULL, NULL), XXH_versionNumber() / 10000,
		XXH_versionNumber() / 100 % 100, XXH_versionNumber() % 100);
	return good ? CLI_DONE : CLI_USAGE;
}
