/* Is the JSON reader of one mind with jansson on what is well-formed, and on repeated names?
 *
 * Known differences, left out here and tested in json_test.c: numbers that no double or 64-bit
 * integer holds, NUL in names, and nesting beyond jansson's limit are faults for jansson only; a NUL
 * byte behind the text is its end for jansson. */
#include <jansson.h>
#include <stdint.h>

#include "base/check.h"
#include "wis2/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_stopped_by_nul(const struct json *j)
{
	return j->fault && j->at < j->end && *j->at == '\0';
}

static bool is_known_difference(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
	       code == json_error_stack_overflow;
}

static void check_pointers(const struct json *j, struct view text)
{
	char path[64];

	json_pointer(text, (size_t)(j->at - j->start), path, sizeof(path));
	check(strlen(path) < sizeof(path));
	for (size_t offset = 0; offset < text.n; offset += 1 + text.n / 16)
		json_pointer(text, offset, path, sizeof(path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char empty[1];
	struct view text = {size ? (const char *)data : empty, size};
	struct json j;
	struct json_value v;
	json_error_t error;
	json_t *tree;
	bool sound;

	if (size > JSON_LARGEST)
		return 0;
	json_init(&j, text);
	if (json_value(&j, &v))
		json_pass(&j, &v);
	sound = json_finish(&j) && j.lone_surrogate == NULL;
	check(sound || j.fault || j.lone_surrogate);
	check(j.at >= j.start && j.at <= j.end);
	check_pointers(&j, text);

	if (is_stopped_by_nul(&j))
		return 0;
	tree = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (tree == NULL && is_known_difference(&error))
		return 0;
	check(sound == (tree != NULL));
	json_decref(tree);
	if (!sound)
		return 0;
	tree = json_loadb(
		text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	check((tree == NULL) == (j.repeated != NULL));
	json_decref(tree);
	return 0;
}
