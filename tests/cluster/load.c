/* Claims messages through the Redis client, or reads them back; faults come from outside meanwhile.
 *
 *	load claim NODE[,NODE...] COUNT BATCH WINDOW ACKNOWLEDGE [DUPLICATES]
 *	load pace NODE[,NODE...] COUNT RATE ACKNOWLEDGE
 *	load read NODE[,NODE...] COUNT
 *
 * NODE is host:port; user and password come from $REDIS_USER and $REDIS_PASSWORD, $REDIS_CA names a
 * certificate for TLS. "claim" makes COUNT messages of 1200 bytes over 16 shards, keeps WINDOW calls of
 * BATCH messages under way and writes "progress N refused R" lines; every DUPLICATES-th call is made twice. SIGTERM:
 * no more are made, and those that were are brought to their end. A call
 * that too few replicas have is made again unless CLUSTER NODES says that the missing ones failed, as
 * whoever acknowledges messages has to. "pace" claims RATE messages a second, one a call, and tells how
 * long a call took until replicas had it; the first tenth does not count; its ids are new in each run
 * and its shards others, which no node follows. "read" reads all shards from replicas and checks each
 * record's place in its shard. Both end with one line of JSON and status 0 when nothing was wrong.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cluster/claim.h"
#include "cluster/record.h"
#include "cluster/redis.h"
#include "net/tls.h"

#define LOAD_SHARDS 16u
#define PAYLOAD_BYTES 1100u
#define BATCH_MOST 64u
#define CENSUS_MS 200u
#define TOLD_EVERY 1000u
#define PACE_WINDOW 1000u

struct call {
	struct redis_request request;
	struct load *load;
	uint32_t shard;
	uint32_t n;
	uint64_t number[BATCH_MOST]; /* of its messages in their shard */
	uint64_t made_ns;
	uint32_t token;
	bool is_duplicate;
	uint32_t first; /* of the last reply */
	uint32_t repeats;
	bool foreign; /* a token that is not ours, or a reply that is not one */
	struct call *free;
};

struct load {
	struct loop *loop;
	struct redis *redis;
	char sha[REDIS_SHA_BYTES];
	uint64_t count, made, done;
	uint64_t first, repeats, resubmitted, failed, wrong, with_fewer;
	uint64_t told;
	uint32_t batch, acknowledge, duplicates;
	uint64_t calls;
	uint64_t in_shard[LOAD_SHARDS];
	uint64_t settled[LOAD_SHARDS]; /* the number up to which calls are done, per shard */
	struct call *pool;
	struct turn_hook hook;
	/* which shards may count with fewer replicas */
	struct redis_request census;
	bool census_under_way;
	bool excused[LOAD_SHARDS];
	struct timer census_timer;
	struct claim_terms terms;
	/* pace */
	uint64_t rate; /* 0: as fast as it goes */
	uint32_t run;
	uint64_t began_ns;
	struct timer beat;
	uint64_t *took_ns; /* of each call */
};

/* An id that says where it stands; but for `run` the same in every run. */
static struct uuid id_of(uint32_t shard, uint64_t number, uint32_t run)
{
	struct uuid id = {{0}};

	memcpy(id.b, &number, sizeof(number));
	memcpy(id.b + 8, &shard, sizeof(shard));
	memcpy(id.b + 12, &run, sizeof(run));
	return id;
}

/* Where the i-th of the load's shards lies. */
static uint32_t shard_at(const struct load *l, uint32_t i)
{
	return l->rate ? i + LOAD_SHARDS : i;
}

static void fill_record(struct buf *b, const struct uuid *id)
{
	static char payload[PAYLOAD_BYTES];
	struct record r = {
		.topic = VIEW("origin/a/wis2/ca-eccc-msc/data/core/weather/"
			      "surface-based-observations/synop"),
		.payload = {payload, sizeof(payload)},
		.publisher = VIEW("ca-eccc-msc"),
		.id = *id,
		.qos = 1,
	};
	/* Half of it as text is, half as hashes are, so that nobody may think of compression. */
	for (size_t i = 0; payload[PAYLOAD_BYTES - 1] == 0 && i < PAYLOAD_BYTES; i++)
		payload[i] = (char)('!' + (i * 7919) % 90);
	record_encode(b, &r);
}

/* --- calls ------------------------------------------------------------------ */

static void write_call(struct call *c)
{
	static struct buf records[BATCH_MOST];
	struct claim_message messages[BATCH_MOST];
	struct uuid ids[BATCH_MOST];

	for (uint32_t i = 0; i < c->n; i++) {
		ids[i] = id_of(c->shard, c->number[i], c->load->run);
		buf_clear(&records[i]);
		fill_record(&records[i], &ids[i]);
		messages[i] = (struct claim_message){
			.id = &ids[i], .token = c->token, .record = buf_view(&records[i])};
	}
	buf_clear(&c->request.command);
	claim_call(&c->request.command, c->load->sha, shard_at(c->load, c->shard), &c->load->terms,
		messages, c->n);
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct call *c = container_of(q, struct call, request);
	struct claim_answer a;

	c->first = c->repeats = 0;
	c->foreign = false;
	if (reply->type == RESP_ERROR)
		fprintf(stderr, "reply: %.*s\n", VIEW_ARG(reply->text));
	for (uint32_t i = 0; i < c->n; i++) {
		if (!claim_answer_of(reply, i, &a)) {
			c->foreign = true;
			return;
		}
		/* One's own token is a first, unless the call is a duplicate on purpose. */
		if (a.token == c->token && !c->is_duplicate)
			c->first++;
		else if (c->is_duplicate)
			c->repeats++;
		else
			c->foreign = true;
	}
}

static void submit(struct call *c)
{
	int err =
		redis_submit(c->load->redis, claim_slot(shard_at(c->load, c->shard)), &c->request);

	check(err == 0);
}

static void tell_progress(struct load *l)
{
	if (l->done - l->told < TOLD_EVERY)
		return;
	l->told = l->done;
	printf("progress %llu refused %llu\n", (unsigned long long)l->done,
		(unsigned long long)count_read(&redis_figures(l->redis)->refused));
	fflush(stdout);
}

static void settle(struct call *c)
{
	struct load *l = c->load;

	l->first += c->first;
	l->repeats += c->repeats;
	l->wrong += c->foreign;
	if (l->rate)
		l->took_ns[l->done] = clock_mono_ns() - c->made_ns;
	if (!c->is_duplicate)
		l->done += c->n;
	c->free = l->pool;
	l->pool = c;
	tell_progress(l);
}

static void on_done(struct redis_request *q, int err)
{
	struct call *c = container_of(q, struct call, request);
	struct load *l = c->load;
	bool too_few = q->replicas < l->acknowledge && !l->excused[c->shard];

	if (err)
		l->failed++;
	else
		l->with_fewer += q->replicas < l->acknowledge;
	if (err == 0 && !too_few) {
		settle(c);
		return;
	}
	l->resubmitted++;
	submit(c);
}

static void make_call(struct load *l)
{
	struct call *c = l->pool;
	uint32_t shard = (uint32_t)(l->calls % LOAD_SHARDS);

	l->pool = c->free;
	c->shard = shard;
	c->n = 0;
	c->is_duplicate = l->duplicates && l->in_shard[shard] >= l->batch &&
			  (l->calls / LOAD_SHARDS) % l->duplicates == l->duplicates - 1;
	if (c->is_duplicate)
		for (; c->n < l->batch; c->n++)
			c->number[c->n] = l->in_shard[shard] - l->batch + c->n;
	else
		for (; c->n < l->batch && l->made < l->count; c->n++, l->made++)
			c->number[c->n] = l->in_shard[shard]++;
	c->token = (uint32_t)++l->calls;
	c->request.acknowledge = (uint8_t)l->acknowledge;
	c->made_ns = clock_mono_ns();
	write_call(c);
	submit(c);
}

static volatile sig_atomic_t asked_to_end;

static void on_signal(int number)
{
	(void)number;
	asked_to_end = 1;
}

/* So many messages may be made by now. */
static uint64_t due(const struct load *l)
{
	uint64_t n = l->count;

	if (l->rate)
		n = (clock_mono_ns() - l->began_ns) / 1000 * l->rate / 1000000;
	return n < l->count ? n : l->count;
}

static bool on_turn(struct turn_hook *h)
{
	struct load *l = container_of(h, struct load, hook);

	if (asked_to_end)
		l->count = l->made;
	while (l->pool && l->made < due(l))
		make_call(l);
	if (l->done == l->count &&
		redis_figures(l->redis)->submitted ==
			redis_figures(l->redis)->answered + redis_figures(l->redis)->failed)
		loop_stop(l->loop);
	return false;
}

/* --- who may count with fewer replicas ---------------------------------------- */

static void on_census(struct redis_request *q, const struct resp *reply)
{
	struct load *l = container_of(q, struct load, census);
	struct replica_census c;

	for (uint32_t i = 0; i < LOAD_SHARDS; i++) {
		int err = reply->type == RESP_STRING
				  ? replica_census_of(reply->text, claim_slot(shard_at(l, i)), &c)
				  : ERR_MALFORMED;

		/* The replica of a master that failed is now the master: nobody is left to have it. */
		l->excused[i] = err == 0 && c.has_master && !c.master_failed && c.healthy == 0 &&
				c.suspected == 0;
	}
}

static void on_census_done(struct redis_request *q, int err)
{
	(void)err;
	container_of(q, struct load, census)->census_under_way = false;
}

static void on_census_time(struct timer *t)
{
	struct load *l = container_of(t, struct load, census_timer);

	if (!l->census_under_way)
		l->census_under_way = redis_submit(l->redis, REDIS_ANY_SLOT, &l->census) == 0;
	timer_start(l->loop, t, CENSUS_MS);
}

/* --- both ------------------------------------------------------------------------ */

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct redis *open_client(struct loop *loop, struct resolver *resolver, char *nodes)
{
	static struct redis_seed seeds[16];
	static const char *scripts[1];
	struct redis_config config = {.loop = loop,
		.resolver = resolver,
		.seeds = seeds,
		.user = getenv("REDIS_USER"),
		.password = getenv("REDIS_PASSWORD"),
		.scripts = scripts,
		.script_count = 1};
	struct tls_client_settings tls = {.verify = true, .ca = getenv("REDIS_CA")};
	struct redis *client;
	char *why = NULL;

	scripts[0] = claim_script();
	for (char *node = strtok(nodes, ","); node && config.seed_count < 16;
		node = strtok(NULL, ",")) {
		char *colon = strrchr(node, ':');

		*colon = '\0';
		seeds[config.seed_count++] =
			(struct redis_seed){node, (uint16_t)strtoul(colon + 1, NULL, 10)};
	}
	if (tls.ca && tls_client_new(&config.tls, &tls, &why) != 0) {
		fprintf(stderr, "%s\n", why);
		exit(2);
	}
	client = redis_new(&config);
	if (config.tls)
		tls_unref(config.tls);
	return client;
}

static struct call *make_calls(struct load *l, uint32_t window)
{
	struct call *calls = mem_new(window * sizeof(*calls));

	for (uint32_t i = 0; i < window; i++) {
		calls[i].load = l;
		calls[i].request.repeatable = true;
		calls[i].request.limit_ms = 60000;
		calls[i].request.on_reply = on_reply;
		calls[i].request.on_done = on_done;
		calls[i].free = l->pool;
		l->pool = &calls[i];
	}
	return calls;
}

static void tell_claims(const struct load *l)
{
	const struct redis_figures *f = redis_figures(l->redis);

	printf("{\"done\":%llu,\"first\":%llu,\"repeats\":%llu,\"resubmitted\":%llu,"
	       "\"failed\":%llu,\"wrong\":%llu,\"with_fewer\":%llu,\"submitted\":%llu,"
	       "\"answered\":%llu,\"repeated\":%llu,\"moved\":%llu,\"asked\":%llu,"
	       "\"refused\":%llu,\"reloaded\":%llu,\"lost\":%llu,\"seconds\":%.3f,\"cpu\":%.3f}\n",
		(unsigned long long)l->done, (unsigned long long)l->first,
		(unsigned long long)l->repeats, (unsigned long long)l->resubmitted,
		(unsigned long long)l->failed, (unsigned long long)l->wrong,
		(unsigned long long)l->with_fewer, (unsigned long long)count_read(&f->submitted),
		(unsigned long long)count_read(&f->answered),
		(unsigned long long)count_read(&f->repeated),
		(unsigned long long)count_read(&f->moved),
		(unsigned long long)count_read(&f->asked),
		(unsigned long long)count_read(&f->refused),
		(unsigned long long)count_read(&f->reloaded),
		(unsigned long long)count_read(&f->lost),
		(double)(clock_mono_ns() - l->began_ns) / 1e9, cpu_seconds());
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void tell_pace(const struct load *l)
{
	uint64_t *took = l->took_ns + l->done / 10;
	size_t n = l->done - l->done / 10;

	qsort(took, n, sizeof(*took), by_size);
	printf("{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n", (double)took[n / 2] / 1e3,
		(double)took[n * 9 / 10] / 1e3, (double)took[n * 99 / 100] / 1e3,
		(double)took[n - 1] / 1e3);
}

static void on_beat(struct timer *t)
{
	timer_start(container_of(t, struct load, beat)->loop, t, 1);
}

static int claim(struct load *l, uint32_t window)
{
	struct call *calls = make_calls(l, window);

	l->began_ns = clock_mono_ns();
	signal(SIGTERM, on_signal);
	redis_script_sha(claim_script(), l->sha);
	l->terms.remember_ms = 3600000;
	l->census.repeatable = true;
	l->census.on_reply = on_census;
	l->census.on_done = on_census_done;
	resp_words(&l->census.command, "CLUSTER NODES");
	l->census_timer.on_time = on_census_time;
	if (l->acknowledge)
		timer_start(l->loop, &l->census_timer, 0);
	l->beat.on_time = on_beat;
	if (l->rate)
		timer_start(l->loop, &l->beat, 0);
	l->hook.on_turn = on_turn;
	loop_add_hook(l->loop, &l->hook);
	loop_wake(l->loop);
	loop_run(l->loop);
	(l->rate ? tell_pace : tell_claims)(l);
	redis_free(l->redis);
	for (uint32_t i = 0; i < window; i++)
		buf_fini(&calls[i].request.command);
	buf_fini(&l->census.command);
	free(calls);
	return l->wrong == 0 && l->first == l->count ? 0 : 1;
}

/* --- reading back ------------------------------------------------------------------ */

struct reader {
	struct redis_request request;
	struct load *load;
	struct redis_lane *lane;
	uint32_t shard;
	struct log_place after;
	uint64_t next; /* number of the record that has to come */
};

static void ask_for_more(struct reader *r)
{
	buf_clear(&r->request.command);
	log_read(&r->request.command, r->shard, r->after, 500, 100);
	check(redis_lane_submit(r->lane, &r->request) == 0);
}

static void on_entries(struct redis_request *q, const struct resp *reply)
{
	struct reader *r = container_of(q, struct reader, request);
	struct log_place place;
	struct record record;
	struct view bytes;

	for (uint32_t i = 0; log_entry(reply, i, &place, &bytes); i++) {
		struct uuid want = id_of(r->shard, r->next, 0);

		if (record_decode(bytes, &record) != 0 ||
			memcmp(&record.id, &want, sizeof(want)) != 0 ||
			log_place_order(place, r->after) <= 0)
			r->load->wrong++;
		r->after = place;
		r->next++;
		r->load->done++;
	}
}

static void on_entries_done(struct redis_request *q, int err)
{
	struct reader *r = container_of(q, struct reader, request);
	struct load *l = r->load;

	if (err)
		l->failed++;
	if (l->done >= l->count)
		loop_stop(l->loop);
	else if (err != ERR_SHUTDOWN)
		ask_for_more(r);
}

static int read_back(struct load *l)
{
	struct reader readers[LOAD_SHARDS] = {0};

	for (uint32_t i = 0; i < LOAD_SHARDS; i++) {
		struct reader *r = &readers[i];

		r->load = l;
		r->shard = i;
		r->lane = redis_lane_open(l->redis, claim_slot(i), REDIS_REPLICA);
		r->request.block_ms = 100;
		r->request.repeatable = true;
		r->request.on_reply = on_entries;
		r->request.on_done = on_entries_done;
		ask_for_more(r);
	}
	loop_run(l->loop);
	printf("{\"read\":%llu,\"wrong\":%llu,\"failed\":%llu}\n", (unsigned long long)l->done,
		(unsigned long long)l->wrong, (unsigned long long)l->failed);
	l->done = l->count;
	redis_free(l->redis);
	for (uint32_t i = 0; i < LOAD_SHARDS; i++)
		buf_fini(&readers[i].request.command);
	return l->wrong == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct load l = {.loop = loop_new()};
	struct resolver *resolver = resolver_new();
	int status;

	if (argc < 4)
		return 2;
	l.count = strtoull(argv[3], NULL, 10);
	l.redis = open_client(l.loop, resolver, argv[2]);
	if (strcmp(argv[1], "claim") == 0 && argc >= 7) {
		l.batch = (uint32_t)strtoul(argv[4], NULL, 10);
		l.acknowledge = (uint32_t)strtoul(argv[6], NULL, 10);
		l.duplicates = argc > 7 ? (uint32_t)strtoul(argv[7], NULL, 10) : 0;
		check(l.batch > 0 && l.batch <= BATCH_MOST);
		status = claim(&l, (uint32_t)strtoul(argv[5], NULL, 10));
	} else if (strcmp(argv[1], "pace") == 0 && argc == 6) {
		l.batch = 1;
		l.run = (uint32_t)clock_wall_ms();
		l.rate = strtoull(argv[4], NULL, 10);
		l.acknowledge = (uint32_t)strtoul(argv[5], NULL, 10);
		l.took_ns = mem_new(l.count * sizeof(*l.took_ns));
		status = claim(&l, PACE_WINDOW);
		free(l.took_ns);
	} else {
		status = read_back(&l);
	}
	loop_free(l.loop);
	resolver_free(resolver);
	return status;
}
