/* A cursor over the text, a stack of the offsets of open brackets, and the list of names met.
 *
 *   text     {"id":"...","links":[{"rel":"canonical", ...
 *            ^0                  ^20^21  ^ at
 *   frames   0, 20, 21             the bracket's byte says whether it is an object
 *   keys     {object 0,"id"} {object 0,"links"} {object 21,"rel"}
 *
 * Names are never taken off the list again: a name's hash is seeded with the place of its object,
 * so one filter of 256 bits and, for texts of very many names, one table serve all objects.
 *
 * Invariant: at <= end, and fault != NULL means that nothing is read any more.
 */
#include "wis2/json.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/utf8.h"

/* What begins with this byte. */
static const uint8_t kinds[256] = {
	['n'] = KIND_NULL,
	['f'] = KIND_FALSE,
	['t'] = KIND_TRUE,
	['"'] = KIND_STRING,
	['['] = KIND_ARRAY,
	['{'] = KIND_OBJECT,
	['-'] = KIND_NUMBER,
	['0'] = KIND_NUMBER,
	['1'] = KIND_NUMBER,
	['2'] = KIND_NUMBER,
	['3'] = KIND_NUMBER,
	['4'] = KIND_NUMBER,
	['5'] = KIND_NUMBER,
	['6'] = KIND_NUMBER,
	['7'] = KIND_NUMBER,
	['8'] = KIND_NUMBER,
	['9'] = KIND_NUMBER,
};

static bool fail(struct json *j, const char *at, const char *reason)
{
	if (j->fault == NULL) {
		j->at = at;
		j->fault = reason;
	}
	return false;
}

/* NUL stands for the end: it is an error wherever it is met outside strings. */
static inline char peek(const struct json *j)
{
	return j->at < j->end ? *j->at : '\0';
}

static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_run_of_space(struct json *j)
{
	const char *p = j->at;

#ifdef __SSE2__
	while (j->end - p >= 16) {
		__m128i bytes = _mm_loadu_si128((const void *)p);
		/* No control character but the three is let through as white space. */
		__m128i spaces =
			_mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')),
					     _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'))),
				_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')),
					_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'))));
		unsigned other = ~(unsigned)_mm_movemask_epi8(spaces) & 0xffffu;

		if (other) {
			j->at = p + __builtin_ctz(other);
			return;
		}
		p += 16;
	}
#endif
	while (p < j->end && is_space(*p))
		p++;
	j->at = p;
}

/* No byte above the space is white space, and one space is the commonest run. */
static inline void skip_space(struct json *j)
{
	const char *p = j->at;

	if (p < j->end && (unsigned char)*p > ' ')
		return;
	if (j->end - p >= 2 && p[0] == ' ' && (unsigned char)p[1] > ' ')
		j->at = p + 1;
	else
		skip_run_of_space(j);
}

/* The first byte that is not plain text of a string: quote, backslash, control or not ASCII. */
static inline const char *plain_end(const char *p, const char *end)
{
#ifdef __SSE2__
	while (end - p >= 16) {
		__m128i bytes = _mm_loadu_si128((const void *)p);
		__m128i stops = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
						     _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
			_mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20))); /* signed: 0x80 and up too */
		unsigned mask = (unsigned)_mm_movemask_epi8(stops);

		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (p < end && (signed char)*p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
	int32_t value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int digit = is_digit(c)            ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static bool is_high_surrogate(int32_t unit)
{
	return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low_surrogate(int32_t unit)
{
	return unit >= 0xdc00 && unit < 0xe000;
}

/* The low half of a pair at p ("\uDC00" to "\uDFFF"), or -1. */
static int32_t low_half(const char *p, const char *end)
{
	int32_t unit = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, end) : -1;

	return is_low_surrogate(unit) ? unit : -1;
}

/* Behind the escape at p, or NULL. */
static const char *pass_escape(struct json *j, const char *p)
{
	int32_t unit;

	if (j->end - p < 2)
		return NULL;
	if (p[1] != 'u')
		return p[1] && strchr("\"\\/bfnrt", p[1]) ? p + 2 : NULL;
	unit = hex4(p + 2, j->end);
	if (unit < 0)
		return NULL;
	if (is_high_surrogate(unit) && low_half(p + 6, j->end) >= 0)
		return p + 12;
	if ((is_high_surrogate(unit) || is_low_surrogate(unit)) && j->lone_surrogate == NULL)
		j->lone_surrogate = p; /* WNM-07 */
	return p + 6;
}

/* Behind the sequence beginning at p, which is neither plain nor the closing quote, or NULL. */
static const char *pass_odd(struct json *j, const char *p, bool *escaped)
{
	size_t length;

	if (*p == '\\') {
		const char *behind = pass_escape(j, p);

		*escaped = true;
		if (behind == NULL)
			fail(j, p, "not an escape of JSON");
		return behind;
	}
	if ((unsigned char)*p < 0x20) {
		fail(j, p, "a control character in a string");
		return NULL;
	}
	length = utf8_sequence(p, (size_t)(j->end - p));
	if (length == 0) {
		fail(j, p, "not well-formed UTF-8");
		return NULL;
	}
	return p + length;
}

static bool read_string(struct json *j, struct json_value *out)
{
	const char *begin = j->at + 1;
	const char *p = plain_end(begin, j->end);
	bool escaped = false;

	while (p < j->end && *p != '"') {
		p = pass_odd(j, p, &escaped);
		if (p == NULL)
			return false;
		if (p < j->end && (signed char)*p >= 0)
			p = plain_end(p, j->end);
	}
	if (p >= j->end)
		return fail(j, j->end, "the text ends inside a string");
	out->offset = (uint32_t)(j->at - j->start);
	out->raw = (struct view){begin, (size_t)(p - begin)};
	out->kind = KIND_STRING;
	out->escaped = escaped;
	j->at = p + 1;
	return true;
}

static const char *pass_digits(const char *p, const char *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

static bool read_number(struct json *j)
{
	const char *p = j->at;
	const char *digits;

	if (*p == '-')
		p++;
	digits = p;
	p = pass_digits(p, j->end);
	if (p == digits)
		return fail(j, p, "a number without digits");
	if (*digits == '0' && p > digits + 1)
		return fail(j, digits, "a number with a leading zero");
	if (p < j->end && *p == '.') {
		digits = ++p;
		p = pass_digits(p, j->end);
		if (p == digits)
			return fail(j, p, "a number without digits behind its point");
	}
	if (p < j->end && (*p | 0x20) == 'e') {
		p++;
		if (p < j->end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = pass_digits(p, j->end);
		if (p == digits)
			return fail(j, p, "a number without digits in its exponent");
	}
	j->at = p;
	return true;
}

static bool read_word(struct json *j, const char *word, size_t n)
{
	if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0)
		return fail(j, j->at, "neither null, true nor false");
	j->at += n;
	return true;
}

static bool read_scalar(struct json *j, uint8_t kind)
{
	switch (kind) {
	case KIND_NUMBER:
		return read_number(j);
	case KIND_NULL:
		return read_word(j, "null", 4);
	case KIND_TRUE:
		return read_word(j, "true", 4);
	case KIND_FALSE:
		return read_word(j, "false", 5);
	default: /* a bracket: json_open() or json_pass() goes on */
		return true;
	}
}

bool json_value(struct json *j, struct json_value *out)
{
	const char *begin;
	uint8_t kind;

	out->kind = KIND_NONE;
	if (j->fault)
		return false;
	skip_space(j);
	kind = kinds[(unsigned char)peek(j)];
	if (kind == KIND_STRING)
		return read_string(j, out);
	if (kind == KIND_NONE)
		return fail(j, j->at,
			j->at == j->end ? "the text ends where a value is due"
					: "not a JSON value");
	begin = j->at;
	if (!read_scalar(j, kind))
		return false;
	out->kind = kind;
	out->escaped = false;
	out->offset = (uint32_t)(begin - j->start);
	out->raw = (struct view){begin, kind >= KIND_ARRAY ? 1 : (size_t)(j->at - begin)};
	return true;
}

void json_init(struct json *j, struct view text)
{
	j->start = j->at = text.p;
	j->end = text.p + text.n;
	j->fault = NULL;
	j->depth = 0;
	j->first = false;
	j->too_deep = j->lone_surrogate = j->repeated = NULL;
	j->keys_checked = true;
	j->key_count = 0;
	memset(j->filter, 0, sizeof(j->filter));
	if (text.n > JSON_LARGEST)
		fail(j, text.p, "the text is too long");
	/* Keys, table and frames are written before they are read. */
}

void json_open(struct json *j)
{
	if (j->fault)
		return;
	j->frames[j->depth++] = (uint16_t)(j->at - j->start);
	if (j->depth > JSON_DEPTH && j->too_deep == NULL)
		j->too_deep = j->at; /* WNM-06 */
	j->at++;
	j->first = true;
}

/* Behind an element: a comma, or the closing bracket. True when another element is due. */
static inline bool pass_separator(struct json *j, char close)
{
	bool first = j->first;
	char c;

	if (j->fault)
		return false;
	j->first = false;
	skip_space(j);
	c = peek(j);
	if (c == close) {
		j->at++;
		j->depth--;
		return false;
	}
	if (first)
		return true;
	if (c != ',')
		return fail(
			j, j->at, close == '}' ? "neither a comma nor }" : "neither a comma nor ]");
	j->at++;
	skip_space(j);
	return true;
}

bool json_element(struct json *j)
{
	return pass_separator(j, ']');
}

static uint64_t load(const char *p, size_t n)
{
	uint64_t word = 0;

	memcpy(&word, p, n);
	return word;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	a ^= b * 0x9e3779b97f4a7c15u;
	a *= 0xff51afd7ed558ccdu;
	return a ^ a >> 32;
}

/* Overlapping loads cover short names without a loop. */
static uint32_t hash_name(struct view name, uint32_t object)
{
	uint64_t hash = object + ((uint64_t)name.n << 16);
	const char *p = name.p;
	size_t n = name.n;

	for (; n > 16; p += 8, n -= 8)
		hash = mix(hash, load(p, 8));
	if (n >= 8)
		hash = mix(mix(hash, load(p, 8)), load(p + n - 8, 8));
	else if (n >= 4)
		hash = mix(hash, load(p, 4) << 32 | load(p + n - 4, 4));
	else if (n > 0)
		hash = mix(hash, (uint64_t)(unsigned char)p[0] << 16 |
					 (uint64_t)(unsigned char)p[n / 2] << 8 |
					 (unsigned char)p[n - 1]);
	return (uint32_t)hash;
}

static struct view key_name(const struct json *j, const struct json_key *key)
{
	return (struct view){j->start + key->offset, key->length};
}

static bool is_same_name(const struct json *j, const struct json_key *a, const struct json_key *b)
{
	char left[JSON_LARGEST], right[JSON_LARGEST];
	size_t n;

	if (a->hash != b->hash || a->object != b->object)
		return false;
	if (!a->escaped && !b->escaped)
		return view_equal(key_name(j, a), key_name(j, b));
	n = json_decode(key_name(j, a), left);
	return n == json_decode(key_name(j, b), right) && memcmp(left, right, n) == 0;
}

static void mark_superseded(struct json *j, uint32_t number)
{
	const struct json_key *last = &j->keys[j->key_count - 1];

	if (j->repeated == NULL) {
		memset(j->superseded, 0, sizeof(j->superseded));
		j->repeated = j->start + last->offset - 1;
	}
	j->superseded[number / 64] |= 1ull << number % 64;
}

/* Puts a name into the table, in place of the same name if that is there. */
static void put_in_table(struct json *j, uint32_t number)
{
	uint32_t slot = j->keys[number].hash % JSON_TABLE_SLOTS;

	while (j->table[slot]) {
		uint32_t other = j->table[slot] - 1u;

		if (is_same_name(j, &j->keys[other], &j->keys[number])) {
			mark_superseded(j, other);
			break;
		}
		slot = (slot + 1) % JSON_TABLE_SLOTS;
	}
	j->table[slot] = (uint16_t)(number + 1);
}

static void build_table(struct json *j)
{
	memset(j->table, 0, sizeof(j->table));
	for (uint32_t i = 0; i < JSON_KEYS_SCANNED; i++)
		put_in_table(j, i);
}

/* The latest of the same name before the last key, by looking at all of them. */
static void scan_keys(struct json *j)
{
	const struct json_key *last = &j->keys[j->key_count - 1];

	for (uint32_t i = j->key_count - 1; i-- > 0;) {
		if (is_same_name(j, &j->keys[i], last)) {
			mark_superseded(j, i);
			return;
		}
	}
}

static uint32_t hash_escaped(struct view raw, uint32_t object)
{
	char name[JSON_LARGEST];
	size_t n = json_decode(raw, name);

	return hash_name((struct view){name, n}, object);
}

/* WNM-05: compared after unescaping. */
static void note_key(struct json *j, const struct json_value *name)
{
	uint32_t object = j->frames[j->depth - 1];
	struct json_key *key = &j->keys[j->key_count++];
	uint64_t bit, *word;

	if (!j->keys_checked)
		return;
	key->hash = name->escaped ? hash_escaped(name->raw, object) : hash_name(name->raw, object);
	key->object = (uint16_t)object;
	key->offset = (uint16_t)(name->raw.p - j->start);
	key->length = (uint16_t)name->raw.n;
	key->escaped = name->escaped;
	word = &j->filter[key->hash >> 30];
	bit = 1ull << (key->hash >> 24 & 63);
	if (j->key_count > JSON_KEYS_SCANNED) {
		if (j->key_count == JSON_KEYS_SCANNED + 1)
			build_table(j);
		put_in_table(j, j->key_count - 1);
	} else if (*word & bit) {
		scan_keys(j);
	}
	*word |= bit;
}

bool json_member(struct json *j, struct json_value *name)
{
	if (!pass_separator(j, '}'))
		return false;
	if (peek(j) != '"')
		return fail(j, j->at, "a member's name in double quotes is due");
	if (!read_string(j, name))
		return false;
	note_key(j, name);
	skip_space(j);
	if (peek(j) != ':')
		return fail(j, j->at, "no colon behind a member's name");
	j->at++;
	return true;
}

void json_pass(struct json *j, const struct json_value *v)
{
	uint32_t outside = j->depth;
	struct json_value inner = *v;

	for (;;) {
		if (inner.kind >= KIND_ARRAY)
			json_open(j);
		while (j->depth > outside) {
			bool in_object = j->start[j->frames[j->depth - 1]] == '{';

			if (in_object ? json_member(j, &inner) : json_element(j))
				break;
			if (j->fault)
				return;
		}
		if (j->depth == outside || !json_value(j, &inner))
			return;
	}
}

bool json_finish(struct json *j)
{
	if (j->fault)
		return false;
	skip_space(j);
	return j->at == j->end || fail(j, j->at, "bytes behind the JSON text");
}

void json_keys_from(struct json *j, const struct json *earlier)
{
	j->keys_checked = false;
	j->repeated = earlier->repeated;
	memcpy(j->superseded, earlier->superseded, sizeof(j->superseded));
}

bool json_is_superseded(const struct json *j)
{
	uint32_t number = j->key_count - 1;

	return !j->keys_checked && (j->superseded[number / 64] >> number % 64 & 1);
}

struct json_place json_rewind(struct json *j, const struct json_value *v)
{
	struct json_place place = {j->at, j->depth, j->keys_checked, j->key_count};

	j->at = j->start + v->offset;
	j->keys_checked = false;
	return place;
}

void json_return(struct json *j, const struct json_place *place)
{
	j->at = place->at;
	j->depth = place->depth;
	j->keys_checked = place->keys_checked;
	j->key_count = place->key_count;
	j->first = false;
}
