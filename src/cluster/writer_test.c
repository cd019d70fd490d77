/* The writer, and what it does in an outage, against a Redis that answers as each test wants: replicas
 * that are late, errors, connections that end, silence. What a real cluster does is in
 * tests/e2e/test_cluster_commit.py. */
#include "cluster/writer.h"

#include "cluster/fixture.h"

#include "cluster/census.h"
#include "commit/fixture.h"

#define SHARDS_HERE 16u
#define IDS_MOST 64u
#define STREAM_BYTES 1600000u
#define KEEP_MS 7200000u
#define WINDOW_MS 3600000u

#define MASTER "a 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-16383\n"
#define HEALTHY MASTER "b 127.0.0.1:3@4 slave a 0 0 1 connected\n"
#define FAILED MASTER "b 127.0.0.1:3@4 slave,fail a 0 0 1 disconnected\n"
#define SUSPECTED MASTER "b 127.0.0.1:3@4 slave,fail? a 0 0 1 disconnected\n"

struct rig {
	char dir[FIXTURE_DIR_BYTES];
	struct loop *loop; /* Redis' */
	struct cluster_settings settings;
	struct cluster_core core;
	struct writer *writer;
	struct commit_port *port;
	struct commit_owner owner;
	struct played redis;
	struct buf told;     /* "1:first 2:repeat " */
	struct buf appended; /* to the streams: "1 2 " */
	uint32_t done, want;
	/* what Redis does */
	const char *nodes;
	const char *refusal; /* so many claims are refused with it */
	uint32_t refuse;
	bool is_silent;       /* no WAIT is answered, nor read what comes behind it */
	uint32_t short_waits; /* so many find no replica */
	uint32_t cut_waits;   /* at so many the connection ends */
	bool knows[IDS_MOST];
	uint32_t tokens[IDS_MOST]; /* of what it knows */
	/* what it was asked */
	uint32_t claims, waits;
	uint64_t remember_ms[IDS_MOST], keep_ms, stream_bytes;
};

/* --- Redis ------------------------------------------------------------------- */

static uint64_t number_at(const struct resp *c, uint32_t i)
{
	return strtoull(c->items[i].text.p, NULL, 10);
}

/* As claim.lua. */
static void claim_one(struct played_visit *v, struct rig *r, uint32_t id, uint32_t token)
{
	char answer[64];
	bool is_first = !r->knows[id];

	if (is_first) {
		r->knows[id] = true;
		r->tokens[id] = token;
		buf_printf(&r->appended, "%u ", id);
	}
	snprintf(answer, sizeof(answer), "%c%llu", is_first ? '+' : '-',
		(unsigned long long)(1000 * (uint64_t)CLAIM_TOKENS + r->tokens[id]));
	played_bulk(v, view_of(answer));
}

static void serve_claims(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;
	uint32_t n = (uint32_t)number_at(c, 2) - 1, terms = 4 + n;

	if (n > 0) { /* else it only trims a shard that is idle */
		r->claims++;
		r->keep_ms = number_at(c, terms + 1);
		r->stream_bytes = number_at(c, terms + 2);
	}
	if (r->refuse) {
		r->refuse--;
		played_say(v, r->refusal);
		return;
	}
	played_array(v, n);
	for (uint32_t i = 0; i < n; i++) {
		struct view key = c->items[4 + i].text;
		uint32_t id;

		memcpy(&id, key.p + key.n - 16, sizeof(id));
		assert_in_range(id, 1, IDS_MOST - 1);
		r->remember_ms[id] = number_at(c, terms);
		claim_one(v, r, id, (uint32_t)number_at(c, terms + 3 + 2 * i));
	}
}

static void serve_wait(struct played_visit *v)
{
	struct rig *r = v->played->context;

	r->waits++;
	if (r->is_silent) {
		v->is_blocked = true;
	} else if (r->cut_waits) {
		r->cut_waits--;
		conn_close(&v->conn, 0, NULL);
	} else {
		played_say(v, r->short_waits ? ":0\r\n" : ":1\r\n");
		r->short_waits -= r->short_waits > 0;
	}
}

static bool on_command(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (played_is(c, "EVALSHA")) {
		serve_claims(v, c);
	} else if (played_is(c, "WAIT")) {
		serve_wait(v);
	} else if (played_is(c, "CLUSTER") && view_equal(c->items[1].text, VIEW("NODES"))) {
		played_bulk(v, view_of(r->nodes));
	} else {
		return false;
	}
	return true;
}

static void serve(struct played_visit *v, const struct resp *c)
{
	(void)v;
	fail_msg("not expected: %.*s", VIEW_ARG(c->items[0].text));
}

/* It answers again. */
static void speak(struct rig *r)
{
	r->is_silent = false;
	played_unblock(&r->redis, ":1\r\n");
}

/* --- the rig -------------------------------------------------------------------- */

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct rig *r = container_of(o, struct rig, owner);

	buf_printf(&r->told, "%u:%s ", token, outcome == COMMIT_FIRST ? "first" : "repeat");
	r->done++;
}

/* Without a writer. */
static struct rig *rig_make(enum cluster_failure on_failure)
{
	struct rig *r = mem_new(sizeof(*r));

	r->owner.on_done = on_done;
	r->nodes = HEALTHY;
	r->redis = (struct played){.first = on_command, .serve = serve, .context = r};
	played_open(&r->redis, &(struct redis_config){.answer_ms = HARNESS_LIMIT_MS});
	r->loop = r->redis.loop;
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->loop,
		.commit = fixture_open_commit(r->dir, 1000),
		.name = (char *)(uintptr_t) "node/1",
		.shards = SHARDS_HERE};
	r->settings = (struct cluster_settings){.dir = r->dir,
		.acknowledge = 1,
		.on_failure = on_failure,
		.window_ms = WINDOW_MS,
		.stream_keep_ms = KEEP_MS,
		.stream_bytes = STREAM_BYTES,
		.spool_bytes = 64u << 20,
		.sync = JOURNAL_SYNC_NEVER};
	return r;
}

/* Redis has not been reached yet. */
static void open_writer(struct rig *r)
{
	struct commit_log log;
	char *why = NULL;

	r->core.redis = r->redis.redis;
	r->core.census = census_new(&r->core);
	assert_int_equal(writer_new(&r->writer, &r->core, &why), 0);
	log = writer_log(r->writer);
	commit_set_log(r->core.commit, &log);
	r->port = commit_port_new(r->core.commit, r->loop, 0);
}

static void begin_writer(struct rig *r)
{
	census_begin(r->core.census);
	writer_start(r->writer);
	writer_begin(r->writer);
}

static struct rig *rig_new(enum cluster_failure on_failure)
{
	struct rig *r = rig_make(on_failure);

	open_writer(r);
	begin_writer(r);
	return r;
}

static void rig_free(struct rig *r)
{
	played_end_client(&r->redis);
	writer_free(r->writer);
	census_free(r->core.census);
	commit_port_free(r->port);
	played_close(&r->redis);
	fixture_close_commit(r->dir, r->core.commit);
	buf_fini(&r->told);
	buf_fini(&r->appended);
	free(r);
}

static struct commit_request request(uint32_t id, bool claim)
{
	struct commit_request q = {
		.message = {.topic = VIEW("t"), .payload = VIEW("payload"), .qos = 1},
		.publisher = VIEW("de-dwd"),
		.claim = claim,
		.token = id};

	memcpy(q.message.id.b, &id, sizeof(id));
	return q;
}

static void claim(struct rig *r, uint32_t id)
{
	struct commit_request q = request(id, true);

	assert_int_equal(commit_submit(r->port, &r->owner, &q, 1), 0);
}

/* Without a claim: all in the shard of their topic. */
static void publish(struct rig *r, uint32_t id)
{
	struct commit_request q = request(id, false);

	assert_int_equal(commit_submit(r->port, &r->owner, &q, 1), 0);
}

static bool is_done(void *context)
{
	const struct rig *r = context;

	return r->done >= r->want;
}

static void run_until_done(struct rig *r, uint32_t n)
{
	r->want = n;
	drive_until(r->loop, is_done, r);
	assert_int_equal(r->done, n);
}

static bool has_waited(void *context)
{
	const struct rig *r = context;

	return r->waits >= r->want;
}

static void run_until_waits(struct rig *r, uint32_t n)
{
	r->want = n;
	drive_until(r->loop, has_waited, r);
}

static bool has_state(void *context)
{
	const struct rig *r = context;

	return count_read(&writer_figures(r->writer)->state) == r->want;
}

static void run_until_state(struct rig *r, enum cluster_state state)
{
	r->want = state;
	drive_until(r->loop, has_state, r);
}

static void assert_text(struct buf *b, const char *want)
{
	buf_append(b, "", 1);
	assert_string_equal((const char *)buf_bytes(b), want);
	buf_cut(b, buf_length(b) - 1);
}

/* --- when a message counts ------------------------------------------------------------- */

static void a_first_and_a_repeat_count_when_replicas_have_them(void **state)
{
	struct rig *r = rig_new(CLUSTER_HOLD);

	(void)state;
	r->knows[2] = true; /* another node's */
	r->tokens[2] = CLAIM_TOKENS - 1;
	for (uint32_t id = 1; id <= 2; id++) {
		uint32_t before = r->waits;

		r->short_waits = 4;
		claim(r, id);
		run_until_waits(r, before + 4);
		assert_int_equal(r->done, id - 1);
		run_until_done(r, id);
		assert_true(r->waits > before + 4);
	}
	assert_text(&r->told, "1:first 2:repeat ");
	assert_text(&r->appended, "1 ");
	rig_free(r);
}

static void fewer_count_only_while_the_missing_are_agreed_to_have_failed(void **state)
{
	static const struct {
		const char *nodes;
		uint32_t done;
	} rows[] = {{HEALTHY, 0}, {SUSPECTED, 0}, {FAILED, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(CLUSTER_HOLD);

		r->nodes = rows[i].nodes;
		r->short_waits = UINT32_MAX;
		claim(r, 1);
		if (rows[i].done)
			run_until_done(r, 1);
		else
			run_until_waits(r, 20);
		assert_int_equal(r->done, rows[i].done);
		rig_free(r);
	}
}

static void who_does_not_know_whether_it_was_done_hears_his_own_token(void **state)
{
	struct rig *r = rig_new(CLUSTER_HOLD);

	(void)state;
	r->cut_waits = 2; /* it was done, and the answer is lost */
	claim(r, 1);
	run_until_done(r, 1);
	assert_text(&r->told, "1:first ");
	assert_text(&r->appended, "1 ");
	assert_true(r->claims >= 3);
	rig_free(r);
}

/* --- order ------------------------------------------------------------------------------- */

static void a_shard_has_one_call_at_a_time(void **state)
{
	struct rig *r = rig_new(CLUSTER_HOLD);

	(void)state;
	r->is_silent = true;
	publish(r, 1);
	run_until_waits(r, 1);
	for (uint32_t id = 2; id <= 4; id++) {
		publish(r, id);
		drive_turns(r->loop, 5);
	}
	speak(r);
	run_until_done(r, 4);
	assert_int_equal(r->claims, 2);
	assert_text(&r->appended, "1 2 3 4 ");
	rig_free(r);
}

static void none_is_appended_before_one_that_came_first(void **state)
{
	static const char *const rows[] = {
		"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
		"-NOREPLICAS Not enough good replicas to write.\r\n",
		"-BUSY Redis is busy running a script.\r\n",
		"-CLUSTERDOWN The cluster is down\r\n",
		"-NOSCRIPT No matching script.\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(CLUSTER_HOLD);

		r->refusal = rows[i];
		r->refuse = 1;
		for (uint32_t id = 1; id <= 5; id++) {
			publish(r, id);
			drive_turns(r->loop, 5);
		}
		run_until_done(r, 5);
		assert_text(&r->appended, "1 2 3 4 5 ");
		rig_free(r);
	}
}

/* --- terms --------------------------------------------------------------------------------- */

static uint32_t shard_of(uint32_t id)
{
	struct uuid u = {{0}};

	memcpy(u.b, &id, sizeof(id));
	return claim_shard(&u, SHARDS_HERE);
}

static void redis_remembers_ten_minutes_longer_than_a_node(void **state)
{
	struct rig *r = rig_new(CLUSTER_HOLD);
	uint32_t id = 3;

	(void)state;
	while (shard_of(id) != claim_shard_of_topic(VIEW("t"), SHARDS_HERE))
		id++;
	r->is_silent = true;
	publish(r, 1);
	run_until_waits(r, 1);
	publish(r, 2); /* without a claim: only as long as it may come again */
	claim(r, id);  /* in the same shard */
	drive_turns(r->loop, 5);
	speak(r);
	run_until_done(r, 3);
	assert_int_equal(r->remember_ms[2], 600000);
	assert_int_equal(r->remember_ms[id], WINDOW_MS + 600000);
	rig_free(r);
}

static void a_shard_is_trimmed_once_a_second(void **state)
{
	struct rig *r = rig_new(CLUSTER_HOLD);
	uint64_t began;

	(void)state;
	publish(r, 1);
	run_until_done(r, 1);
	assert_int_equal(r->keep_ms, KEEP_MS);
	assert_int_equal(r->stream_bytes, STREAM_BYTES / SHARDS_HERE);
	began = loop_now_ms(r->loop);
	for (uint32_t id = 2; r->keep_ms == 0 || id == 2; id++) {
		publish(r, id % IDS_MOST ? id % IDS_MOST : 1);
		run_until_done(r, id);
		if (id == 2 && loop_now_ms(r->loop) - began < 500)
			assert_int_equal(r->keep_ms + r->stream_bytes, 0);
	}
	assert_true(loop_now_ms(r->loop) - began >= 900);
	rig_free(r);
}

/* --- Redis out of reach ---------------------------------------------------------------------- */

static void under_hold_nothing_is_acknowledged_until_redis_is_back(void **state)
{
	struct rig *r = rig_new(CLUSTER_HOLD);
	struct commit_figures figures = {0};

	(void)state;
	r->is_silent = true;
	publish(r, 1);
	run_until_state(r, CLUSTER_HOLDING);
	publish(r, 2);
	drive_turns(r->loop, 50);
	assert_int_equal(r->done, 0);
	while (figures.held_ms == 0) {
		drive_turns(r->loop, 1);
		commit_figures(r->core.commit, &figures);
	}
	speak(r);
	run_until_done(r, 2);
	run_until_state(r, CLUSTER_OPEN);
	assert_text(&r->told, "1:first 2:first ");
	assert_text(&r->appended, "1 2 ");
	rig_free(r);
}

static void under_spool_what_waits_is_acknowledged_and_committed_in_its_order(void **state)
{
	struct rig *r = rig_new(CLUSTER_SPOOL);
	const struct writer_figures *f = writer_figures(r->writer);

	(void)state;
	r->is_silent = true;
	publish(r, 1);
	run_until_state(r, CLUSTER_SPOOLING);
	publish(r, 2);
	run_until_done(r, 2);
	assert_int_equal(count_read(&f->spooled), 2);
	assert_int_equal(journal_tail(commit_journal(r->core.commit)), 0);
	/* Back, but it falls silent at the first call for what is in the spool. */
	speak(r);
	r->is_silent = true;
	run_until_state(r, CLUSTER_DRAINING);
	publish(r, 3);
	run_until_done(r, 3);
	speak(r);
	run_until_state(r, CLUSTER_OPEN);
	publish(r, 4);
	run_until_done(r, 4);
	assert_text(&r->told, "1:first 2:first 3:first 4:first ");
	assert_text(&r->appended, "1 2 3 4 ");
	assert_int_equal(count_read(&f->spooled), 3);
	assert_int_equal(count_read(&f->spool_messages), 0);
	rig_free(r);
}

static void what_an_earlier_run_spooled_is_told_at_once_and_committed(void **state)
{
	struct rig *before = rig_new(CLUSTER_SPOOL), *r = rig_make(CLUSTER_SPOOL);
	char command[256];

	(void)state;
	before->is_silent = true;
	publish(before, 1);
	publish(before, 2);
	run_until_state(before, CLUSTER_SPOOLING);
	run_until_done(before, 2);
	snprintf(command, sizeof(command), "cp -r %s/spool %s", before->dir, r->dir);
	assert_int_equal(system(command), 0);
	open_writer(r);
	assert_int_equal(count_read(&writer_figures(r->writer)->spool_messages), 2);
	begin_writer(r);
	assert_int_equal(count_read(&writer_figures(r->writer)->state), CLUSTER_SPOOLING);
	run_until_state(r, CLUSTER_OPEN);
	assert_text(&r->appended, "1 2 ");
	assert_int_equal(count_read(&writer_figures(r->writer)->outages), 1);
	assert_int_equal(count_read(&writer_figures(r->writer)->spool_messages), 0);
	rig_free(r);
	rig_free(before);
}

static void under_local_it_is_in_the_journal_at_once_and_what_escaped_is_counted(void **state)
{
	struct rig *r = rig_new(CLUSTER_LOCAL);

	(void)state;
	r->is_silent = true;
	claim(r, 1);
	run_until_state(r, CLUSTER_SPOOLING);
	claim(r, 2);
	claim(r, 3);
	run_until_done(r, 3);
	assert_int_equal(journal_tail(commit_journal(r->core.commit)), 3);
	r->knows[2] = true; /* another node has published it meanwhile */
	r->tokens[2] = CLAIM_TOKENS - 1;
	speak(r);
	run_until_state(r, CLUSTER_OPEN);
	assert_text(&r->told, "1:first 2:first 3:first ");
	assert_text(&r->appended, "1 3 ");
	assert_int_equal(count_read(&writer_figures(r->writer)->escaped), 1);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_and_a_repeat_count_when_replicas_have_them),
		cmocka_unit_test(fewer_count_only_while_the_missing_are_agreed_to_have_failed),
		cmocka_unit_test(who_does_not_know_whether_it_was_done_hears_his_own_token),
		cmocka_unit_test(a_shard_has_one_call_at_a_time),
		cmocka_unit_test(none_is_appended_before_one_that_came_first),
		cmocka_unit_test(redis_remembers_ten_minutes_longer_than_a_node),
		cmocka_unit_test(a_shard_is_trimmed_once_a_second),
		cmocka_unit_test(under_hold_nothing_is_acknowledged_until_redis_is_back),
		cmocka_unit_test(under_spool_what_waits_is_acknowledged_and_committed_in_its_order),
		cmocka_unit_test(what_an_earlier_run_spooled_is_told_at_once_and_committed),
		cmocka_unit_test(
			under_local_it_is_in_the_journal_at_once_and_what_escaped_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
