/* wis2/json.h - a strict reader of one small JSON text (RFC 8259)
 *
 * A pull reader: the caller asks for the next value, member or element and gets views into the
 * text. Nothing is allocated or copied, nothing recurses, and what is not asked for is checked all
 * the same while it is passed over. After a fault every call answers "nothing more", so callers
 * need not look until json_finish().
 *
 * Faults of grammar and UTF-8 end the reading. Three other things are noted and read on, because
 * they are rules of their own: nesting deeper than JSON_DEPTH, unpaired escaped surrogates, and
 * members of the same name in one object.
 *
 * Threads: one at a time; the state is in struct json, which needs no release.
 */
#ifndef WIS2_JSON_H
#define WIS2_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define JSON_LARGEST 8192u                 /* longest text, bytes */
#define JSON_DEPTH 64u                     /* WNM-06; the outermost value is depth 1 */
#define JSON_KEYS_MOST (JSON_LARGEST / 4u) /* "":0, needs five bytes */
#define JSON_KEYS_SCANNED 48u              /* beyond so many names a table finds repeats */
#define JSON_TABLE_SLOTS 4096u

enum json_kind {
	KIND_NONE, /* absent; or a fault */
	KIND_NULL,
	KIND_FALSE,
	KIND_TRUE,
	KIND_NUMBER,
	KIND_STRING,
	KIND_ARRAY,  /* only its bracket has been looked at: json_open() or json_pass() it */
	KIND_OBJECT, /* likewise */
};

struct json_value {
	struct view raw; /* as written; a string's without its quotes; of a container the bracket */
	uint32_t offset; /* of its first byte in the text */
	uint8_t kind;    /* enum json_kind */
	bool escaped;    /* raw has escapes: json_decode() it before use */
};

/* A member's name that was met. */
struct json_key {
	uint32_t hash;   /* of name and object */
	uint16_t object; /* offset of the object's bracket */
	uint16_t offset; /* of the name, behind its quote */
	uint16_t length;
	bool escaped;
};

struct json {
	const char *start;
	const char *at;
	const char *end;
	const char *fault;          /* NULL; else static text, and `at` is where */
	uint32_t depth;             /* containers open now */
	bool first;                 /* the container just opened has given no element yet */
	const char *too_deep;       /* first bracket beyond JSON_DEPTH, or NULL */
	const char *lone_surrogate; /* first unpaired escape, or NULL */
	const char *repeated;       /* first name met a second time in its object, or NULL */
	bool keys_checked;          /* look for repeated names */
	uint32_t key_count;         /* the last name's number is key_count - 1 */
	uint64_t filter[4];         /* hashes met, one bit each */
	uint64_t superseded[JSON_KEYS_MOST / 64]; /* by number: the same name follows; valid with
	                                           * `repeated` */
	struct json_key keys[JSON_KEYS_MOST];
	uint16_t table[JSON_TABLE_SLOTS]; /* number + 1 by hash, beyond JSON_KEYS_SCANNED */
	uint16_t frames[JSON_LARGEST];    /* offsets of the open brackets */
};

/* Starts at the first byte. Borrows text (at most JSON_LARGEST bytes) as long as j is used. */
void json_init(struct json *j, struct view text);

/* The next value, scalars read to their end. False on a fault. */
bool json_value(struct json *j, struct json_value *out);

/* Goes into the container whose bracket json_value() just gave. */
void json_open(struct json *j);

/* Inside an object: reads the next name and its colon; the value comes next. False behind the
 * closing bracket, or on a fault. */
bool json_member(struct json *j, struct json_value *name);

/* Inside an array: true when another element comes next; false as above. */
bool json_element(struct json *j);

/* Passes over the container json_value() just gave; nothing to do for scalars. */
void json_pass(struct json *j, const struct json_value *v);

/* Only white space may be left. True when the whole text was well-formed. */
bool json_finish(struct json *j);

/* Was the name just given repeated later in its object? Meaningful when the text was read before
 * with json_keys_from() taking over what that reading found. */
void json_keys_from(struct json *j, const struct json *earlier);
bool json_is_superseded(const struct json *j);

/* Reads a value once more: the next json_value() gives it again. It has been read or passed over
 * inside the container that is open now. json_return() goes on where json_rewind() was called;
 * names met in between are not noted. */
struct json_place {
	const char *at;
	uint32_t depth;
	bool keys_checked;
	uint32_t key_count;
};
struct json_place json_rewind(struct json *j, const struct json_value *v);
void json_return(struct json *j, const struct json_place *place);

/* The bytes a string stands for, escapes resolved, into out (at least raw.n bytes); gives their
 * number. raw has passed the reader. An unpaired surrogate becomes three bytes. */
size_t json_decode(struct view raw, char *out);

/* The JSON pointer (RFC 6901) of the value at, or the name before, that offset; of the innermost
 * container that holds it when the text is broken there. Cut to size at a whole character. */
void json_pointer(struct view text, size_t offset, char *out, size_t size);

#endif
