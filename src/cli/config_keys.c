/* cli/config_keys.c - the rows of config.def and config_type.def as tables */
#include "cli/config_keys.h"

#include "base/check.h"

#define ONE(name, function, wrong, right) [TYPE_##name] = {#name, wrong, right, .one = function},
#define LINE(name, function, wrong, right) \
	[TYPE_##name] = {#name, wrong, right, .one = function, .is_text = true},
#define MANY(name, function, wrong, right) [TYPE_##name] = {#name, wrong, right, .item = function},
#define TREE(name, function) [TYPE_##name] = {#name, NULL, NULL, .tree = function},
static const struct config_type types[TYPE_COUNT] = {
#include "cli/config_type.def"
};
#undef ONE
#undef LINE
#undef MANY
#undef TREE

const struct config_type *config_type(enum config_type_number n)
{
	check(n < TYPE_COUNT);
	return &types[n];
}

/* The struct behind each section. */
#define CONFIG_STRUCT struct config
#define LISTENER_STRUCT struct config_listener
#define SOURCE_STRUCT struct source_config
#define ENDPOINT_STRUCT struct uplink_endpoint
#define PUBLISH_STRUCT struct publish_config
#define ACCOUNT_STRUCT struct account_entry

#define SIZE_OF(section, field) sizeof(((section##_STRUCT *)NULL)->field)

#define KEPT(section, name, type, field, fallback, least, most, words, help)      \
	{SECTION_##section, name, TYPE_##type, offsetof(section##_STRUCT, field), \
		SIZE_OF(section, field), 0, fallback, least, most, words, help},
#define LIST(section, name, type, field, counter, fallback, words, help)                      \
	{SECTION_##section, name, TYPE_##type, offsetof(section##_STRUCT, field),             \
		SIZE_OF(section, field), offsetof(section##_STRUCT, counter), fallback, 0, 0, \
		words, help},
#define GROUP(section, name, help) \
	{SECTION_##section, name, TYPE_MAP, 0, 0, 0, NULL, 0, 0, NULL, help},

const struct config_key config_keys[] = {
#include "cli/config.def"
};

const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);
