/* What judging one notification costs: topic, centre, format and discovery metadata of 256 made-up
 * ones of 1.2 KB in turn, with a list of 100 000 records; the last part alone as well; beside jansson's mere parse of them and a copy of their bytes.
 *
 * They take turns in short rounds, so that whatever else the machine does hits them alike; the
 * median of the rounds counts. malloc() and its like are counted while judging: the answer must be
 * none. Prints one JSON line.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/generate.h"
#include "commit/metadata.h"

#define MESSAGES 256u
#define ROUNDS 401u
#define RECORDS 100000u
#define WORKS 4u
#define PASSES 8u /* over all messages, in a round */

/* --- counting allocations --------------------------------------------- */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static unsigned long allocations;

void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	allocations++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	allocations++;
	return __libc_realloc(p, n);
}

/* --- what is compared -------------------------------------------------- */

struct bench {
	struct hierarchy *hierarchy;
	struct gate_policy policy;
	struct shelf shelf;
	struct gate_verdict verdicts[MESSAGES]; /* before the metadata check */
	struct buf topics[MESSAGES];
	struct buf payloads[MESSAGES];
	size_t bytes;
	unsigned long refused;
	unsigned char copy[16384];
};

static void judge(struct bench *b, unsigned i)
{
	struct gate_verdict verdict;

	gate_judge(b->hierarchy, &b->policy, buf_view(&b->topics[i]), buf_view(&b->payloads[i]),
		&verdict);
	metadata_judge(&b->shelf, &b->policy, buf_view(&b->payloads[i]), &verdict);
	b->refused += !verdict.pass;
}

static void look_up(struct bench *b, unsigned i)
{
	metadata_judge(&b->shelf, &b->policy, buf_view(&b->payloads[i]), &b->verdicts[i]);
	b->refused += !b->verdicts[i].pass;
}

static void parse(struct bench *b, unsigned i)
{
	struct view payload = buf_view(&b->payloads[i]);
	json_t *root = json_loadb(payload.p, payload.n, 0, NULL);

	b->refused += root == NULL;
	json_decref(root);
}

static void copy(struct bench *b, unsigned i)
{
	struct view payload = buf_view(&b->payloads[i]);

	memcpy(b->copy, payload.p, payload.n);
	__asm__ volatile("" : : "r"(b->copy) : "memory");
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds a message. */
static double round_of(struct bench *b, void (*work)(struct bench *b, unsigned i))
{
	double begin = now_ns();

	for (unsigned pass = 0; pass < PASSES; pass++) {
		for (unsigned i = 0; i < MESSAGES; i++)
			work(b, i);
	}
	return (now_ns() - begin) / (PASSES * MESSAGES);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *rounds)
{
	qsort(rounds, ROUNDS, sizeof(*rounds), by_size);
	return rounds[ROUNDS / 2];
}

/* --- the messages ------------------------------------------------------ */

static void make_messages(struct bench *b)
{
	struct random random = {42};

	for (unsigned i = 0; i < MESSAGES; i++) {
		char id[UUID_TEXT_BYTES + 1];
		struct uuid uuid;
		struct generate_request q = {
			.centre = VIEW("ca-eccc-msc"),
			.dataset = i % generate_dataset_count(),
			.serial = i,
			.wall_ms = 1770000000000 + i * 1000,
			.size_bytes = 1200,
		};

		random_uuid(&random, &uuid);
		uuid_format(&uuid, id);
		q.id = (struct view){id, UUID_TEXT_BYTES};
		generate_topic(&q, &b->topics[i]);
		generate_payload(&random, &q, &b->payloads[i]);
		b->bytes += buf_length(&b->payloads[i]);
	}
}

/* A record for each message, among many. */
static void make_records(struct bench *b)
{
	struct catalogue *list = catalogue_new();
	char id[64];

	shelf_init(&b->shelf);
	for (unsigned i = 0; i < RECORDS; i++) {
		snprintf(id, sizeof(id), "urn:wmo:md:ca-eccc-msc:record-%u", i);
		catalogue_add(list, view_of(id), VIEW("data/core/weather/experimental/x"));
	}
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct gate_verdict *v = &b->verdicts[i];

		gate_judge(b->hierarchy, &b->policy, buf_view(&b->topics[i]),
			buf_view(&b->payloads[i]), v);
		catalogue_add(list, v->note.metadata_id, v->parts.tail);
	}
	shelf_put(&b->shelf, list);
}

int main(void)
{
	static struct bench b;
	static double times[WORKS][ROUNDS];
	static char *centre[] = {(char *)"ca-eccc-msc"};
	void (*const works[WORKS])(struct bench *, unsigned) = {judge, parse, copy, look_up};
	unsigned long counted = 0;
	double ns[WORKS];

	b.hierarchy = hierarchy_built_in();
	b.policy =
		(struct gate_policy){.channels = GATE_ORIGIN, .centres = centre, .centre_count = 1};
	gate_settings_default(&b.policy.settings);
	gate_policy_compile(&b.policy);
	make_messages(&b);
	make_records(&b);
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned w = 0; w < WORKS; w++) {
			unsigned long before = allocations;

			times[w][r] = round_of(&b, works[w]);
			counted += w == 0 || w == 3 ? allocations - before : 0;
		}
	}
	for (unsigned w = 0; w < WORKS; w++)
		ns[w] = median(times[w]);
	printf("{\"message_bytes\":%zu,\"judge_ns\":%.0f,\"jansson_parse_ns\":%.0f,\"memcpy_ns\":%."
	       "0f,\"look_up_ns\":%.0f,"
	       "\"judge_to_jansson\":%.3f,\"allocations\":%lu,\"refused\":%lu}\n",
		b.bytes / MESSAGES, ns[0], ns[1], ns[2], ns[3], ns[0] / ns[1], counted, b.refused);
	return counted || b.refused || ns[0] * 5 > ns[1];
}
