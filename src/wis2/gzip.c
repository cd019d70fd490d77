/* Unpacks one gzip member into a buffer of INLINE_LARGEST bytes and forgets it (RFC 1951, 1952).
 *
 * Only strict mode asks, about at most 6 KiB, so the decoder is the plain one: canonical Huffman
 * codes walked bit by bit with the counts of each length.
 *
 * Invariant: a fault (data used up, impossible code, too much output) is sticky and reads as zeros.
 */
#include "wis2/inline_data.h"

#include <stdbool.h>
#include <string.h>

#define CODE_BITS_MOST 15u
#define LITERALS 288u
#define DISTANCES 30u
#define LENGTH_CODES 19u

struct inflate {
	const uint8_t *in;
	size_t n;              /* bytes left at `in` */
	uint32_t bits;         /* read, not used; the lowest comes first */
	unsigned bit_count;
	bool bad;
	uint32_t length;       /* bytes in out */
	uint8_t out[INLINE_LARGEST];
};

/* A canonical code: how many codes there are of each length, and the symbols in code order. */
struct code {
	uint16_t count[CODE_BITS_MOST + 1];
	uint16_t symbol[LITERALS];
};

static uint32_t take_bits(struct inflate *z, unsigned n)
{
	uint32_t value;

	while (z->bit_count < n) {
		if (z->n == 0) {
			z->bad = true;
			return 0;
		}
		z->bits |= (uint32_t)*z->in++ << z->bit_count;
		z->n--;
		z->bit_count += 8;
	}
	value = z->bits & ((1u << n) - 1);
	z->bits >>= n;
	z->bit_count -= n;
	return value;
}

static void put_byte(struct inflate *z, uint8_t byte)
{
	if (z->length < INLINE_LARGEST)
		z->out[z->length++] = byte;
	else
		z->bad = true;
}

/* False when more codes are given than there is room for; too few is allowed only for a single
 * code of one bit (RFC 1951, 3.2.7). */
static bool make_code(struct code *code, const uint8_t *lengths, unsigned n)
{
	uint16_t next[CODE_BITS_MOST + 1];
	int32_t left = 1;

	memset(code->count, 0, sizeof(code->count));
	for (unsigned i = 0; i < n; i++)
		code->count[lengths[i]]++;
	for (unsigned bits = 1; bits <= CODE_BITS_MOST; bits++) {
		left = left * 2 - code->count[bits];
		if (left < 0)
			return false;
	}
	next[1] = 0;
	for (unsigned bits = 1; bits < CODE_BITS_MOST; bits++)
		next[bits + 1] = (uint16_t)(next[bits] + code->count[bits]);
	for (unsigned i = 0; i < n; i++) {
		if (lengths[i])
			code->symbol[next[lengths[i]]++] = (uint16_t)i;
	}
	return left == 0 || (unsigned)code->count[0] + code->count[1] == n;
}

static unsigned take_symbol(struct inflate *z, const struct code *code)
{
	int32_t value = 0, first = 0, index = 0;

	for (unsigned bits = 1; bits <= CODE_BITS_MOST && !z->bad; bits++) {
		value |= (int32_t)take_bits(z, 1);
		if (value - first < code->count[bits])
			return code->symbol[index + value - first];
		index += code->count[bits];
		first = (first + code->count[bits]) * 2;
		value *= 2;
	}
	z->bad = true;
	return 0;
}

static void copy_back(struct inflate *z, uint32_t length, uint32_t distance)
{
	if (distance > z->length)
		z->bad = true;
	while (length-- > 0 && !z->bad)
		put_byte(z, z->out[z->length - distance]);
}

/* A length symbol's base and extra bits, and a distance symbol's (RFC 1951, 3.2.5). */
static void inflate_match(struct inflate *z, unsigned symbol, const struct code *distances)
{
	static const uint16_t lengths[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27,
		31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
	static const uint16_t starts[DISTANCES] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129,
		193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
	unsigned n = symbol - 257;
	unsigned extra = n < 8 || n == 28 ? 0 : n / 4 - 1;
	uint32_t length;
	unsigned d;

	if (n > 28) {
		z->bad = true;
		return;
	}
	length = lengths[n] + take_bits(z, extra);
	d = take_symbol(z, distances);
	if (d >= DISTANCES) {
		z->bad = true;
		return;
	}
	copy_back(z, length, starts[d] + take_bits(z, d < 4 ? 0 : d / 2 - 1));
}

static void inflate_codes(struct inflate *z, const struct code *literals,
	const struct code *distances)
{
	while (!z->bad) {
		unsigned symbol = take_symbol(z, literals);

		if (symbol == 256)
			return;
		if (symbol < 256)
			put_byte(z, (uint8_t)symbol);
		else
			inflate_match(z, symbol, distances);
	}
}

static void inflate_stored(struct inflate *z)
{
	uint32_t length, complement;

	z->bits = 0;
	z->bit_count = 0;
	length = take_bits(z, 16);
	complement = take_bits(z, 16);
	if (length != (~complement & 0xffffu))
		z->bad = true;
	while (length-- > 0 && !z->bad)
		put_byte(z, (uint8_t)take_bits(z, 8));
}

static void inflate_fixed(struct inflate *z)
{
	uint8_t lengths[LITERALS];
	struct code literals, distances;

	memset(lengths, 8, 144);
	memset(lengths + 144, 9, 112);
	memset(lengths + 256, 7, 24);
	memset(lengths + 280, 8, 8);
	make_code(&literals, lengths, LITERALS);
	memset(lengths, 5, DISTANCES);
	make_code(&distances, lengths, DISTANCES); /* two codes are unused on purpose */
	inflate_codes(z, &literals, &distances);
}

/* Reads n code lengths, which are themselves coded with repeats (RFC 1951, 3.2.7). */
static void take_lengths(struct inflate *z, const struct code *code, uint8_t *lengths, unsigned n)
{
	unsigned at = 0;

	while (at < n && !z->bad) {
		unsigned symbol = take_symbol(z, code);
		unsigned times = symbol < 16 ? 1 : symbol == 16 ? 3 + take_bits(z, 2) :
			symbol == 17 ? 3 + take_bits(z, 3) : 11 + take_bits(z, 7);
		uint8_t value = (uint8_t)(symbol < 16 ? symbol : 0);

		if (symbol == 16 && at > 0)
			value = lengths[at - 1];
		if ((symbol == 16 && at == 0) || times > n - at) {
			z->bad = true;
			return;
		}
		memset(lengths + at, value, times);
		at += times;
	}
}

static void inflate_dynamic(struct inflate *z)
{
	static const uint8_t order[LENGTH_CODES] = {
		16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
	uint8_t lengths[LITERALS + DISTANCES] = {0};
	struct code literals, distances;
	unsigned literal_count = 257 + take_bits(z, 5);
	unsigned distance_count = 1 + take_bits(z, 5);
	unsigned length_count = 4 + take_bits(z, 4);

	for (unsigned i = 0; i < length_count; i++)
		lengths[order[i]] = (uint8_t)take_bits(z, 3);
	if (z->bad || literal_count > 286 || distance_count > DISTANCES ||
		!make_code(&literals, lengths, LENGTH_CODES)) {
		z->bad = true;
		return;
	}
	take_lengths(z, &literals, lengths, literal_count + distance_count);
	if (z->bad || lengths[256] == 0 || !make_code(&literals, lengths, literal_count) ||
		!make_code(&distances, lengths + literal_count, distance_count)) {
		z->bad = true;
		return;
	}
	inflate_codes(z, &literals, &distances);
}

static void inflate_blocks(struct inflate *z)
{
	bool last = false;

	while (!last && !z->bad) {
		uint32_t type;

		last = take_bits(z, 1);
		type = take_bits(z, 2);
		if (type == 0)
			inflate_stored(z);
		else if (type == 1)
			inflate_fixed(z);
		else if (type == 2)
			inflate_dynamic(z);
		else
			z->bad = true;
	}
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xffffffffu;

	while (n-- > 0) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Behind a text that ends in NUL at p, or NULL. */
static const uint8_t *pass_text(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;

	return nul ? nul + 1 : NULL;
}

/* Behind the extra field at p, or NULL. */
static const uint8_t *pass_extra(const uint8_t *p, const uint8_t *end)
{
	size_t length = end - p >= 2 ? 2u + p[0] + ((size_t)p[1] << 8) : SIZE_MAX;

	return length <= (size_t)(end - p) ? p + length : NULL;
}

/* Behind the member's header (RFC 1952, 2.3), or NULL. */
static const uint8_t *pass_header(const uint8_t *p, const uint8_t *end)
{
	enum { CHECKED = 2, EXTRA = 4, NAMED = 8, COMMENTED = 16 };
	uint8_t flags;

	if (end - p < 10 || p[0] != 0x1f || p[1] != 0x8b || p[2] != 8 || p[3] > 31)
		return NULL;
	flags = p[3];
	p += 10;
	if (flags & EXTRA)
		p = pass_extra(p, end);
	if (p && (flags & NAMED))
		p = pass_text(p, end);
	if (p && (flags & COMMENTED))
		p = pass_text(p, end);
	if (p && (flags & CHECKED))
		p = end - p >= 2 ? p + 2 : NULL;
	return p;
}

int32_t gzip_length(const uint8_t *data, size_t n)
{
	struct inflate z;
	const uint8_t *end = data + n;
	const uint8_t *body = pass_header(data, end);

	if (body == NULL)
		return -1;
	z.in = body;
	z.n = (size_t)(end - body);
	z.bits = 0;
	z.bit_count = 0;
	z.bad = false;
	z.length = 0;
	inflate_blocks(&z);
	if (z.bad || z.n != 8)
		return -1;
	if (load32(z.in) != crc32_of(z.out, z.length) || load32(z.in + 4) != z.length)
		return -1;
	return (int32_t)z.length;
}
