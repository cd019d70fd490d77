/* cli/version.c - `isobar version`: versions of program, formats, hierarchy and libraries */
#include <jansson.h>
#include <libfyaml.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <xxhash.h>
#include <zlib.h>

#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
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

static const struct argument_table table = {
	.usage = "isobar version",
	.about =
		"Prints versions of program, on-disk format, topic hierarchy, build and libraries.",
};

int cli_version(int argc, char **argv)
{
	struct hierarchy *hierarchy;
	char nothing;
	int rest = arguments_read(&table, argc, argv, &nothing);

	if (rest < 0)
		return arguments_status(rest);
	hierarchy = hierarchy_built_in();
	printf("isobar %s\n", ISOBAR_VERSION);
	printf("on-disk format %d\n", JOURNAL_FORMAT);
	printf("topic hierarchy %s\n", hierarchy_version(hierarchy));
	printf("build %s, %s%s\n", COMPILER, OPTIMIZED, SANITIZED);
	printf("libraries %s, libfyaml %s, jansson %s, zlib %s, %s, xxHash %u.%u.%u\n",
		OpenSSL_version(OPENSSL_VERSION), fy_library_version(), jansson_version_str(),
		zlibVersion(), mdb_version(NULL, NULL, NULL), XXH_versionNumber() / 10000,
		XXH_versionNumber() / 100 % 100, XXH_versionNumber() % 100);
	hierarchy_unref(hierarchy);
	return CLI_DONE;
}
