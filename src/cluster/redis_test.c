/* The Redis client against two servers that answer as each test wants: faults of the protocol, of the
 * cluster and of the network. What a real cluster does is in tests/e2e/test_redis.py. */
#include "cluster/redis.h"

#include "cluster/fixture.h"

#include "base/error.h"
#include "net/harness_tls.h"

#define SERVERS 2u
#define REQUESTS_MOST 2000u
#define SLOT 5u /* of server 0, which has the lower half */

/* --- the servers ----------------------------------------------------------- */

enum { ASKING = 1, READ_ONLY = 2 }; /* marks of a connection */

struct server {
	struct played played; /* asked: "GET 1;MARK;WAIT 1;..." without greetings and maps */
	struct rig *rig;
	uint32_t gets;
	uint32_t loads;
};

/* Answers a GET with the given text, or NULL: it was done otherwise. */
typedef const char *answer_get(struct server *s, struct played_visit *v, uint32_t number);

struct rig {
	struct loop *loop;
	struct resolver *resolver;
	struct redis *redis;
	struct redis_config config;
	struct redis_seed seed;
	struct server servers[SERVERS];
	struct tls_context *server_tls;
	struct tls_context *client_tls;
	struct identity identity;
	char folder[32];
	answer_get *get;
	const char *auth; /* answer to AUTH */
	const char *mark; /* answer to the write before WAIT; NULL: OK */
	const char
		*wait; /* answer to WAIT; "": none yet; NULL: the connection ends instead, once */
	uint32_t waits;
	/* the requests of a test */
	struct asked {
		struct redis_request request;
		struct rig *rig;
		uint32_t number;
		int done; /* calls of on_done */
		int err;
		int replies;
		char text[64];
	} requests[REQUESTS_MOST];
	uint32_t made, done;
	struct buf order;  /* of on_done: "0 1 2 " */
	const char *slots; /* answer to CLUSTER SLOTS; NULL: both halves */
};

static struct server *server_of(const struct played_visit *v)
{
	return container_of(v->played, struct server, played);
}

static void say_slots(struct played_visit *v)
{
	const struct rig *r = server_of(v)->rig;
	char text[192];

	snprintf(text, sizeof(text),
		"*2\r\n*4\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
		"*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
		"*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
		r->servers[0].played.port, r->servers[1].played.port, r->servers[1].played.port);
	played_say(v, r->slots ? r->slots : text);
}

static void on_get(struct played_visit *v, const struct resp *command)
{
	struct server *s = server_of(v);
	uint32_t number = (uint32_t)strtoul(command->items[1].text.p, NULL, 10);
	const char *text = s->rig->get(s, v, number);

	s->gets++;
	v->marks &= ~(unsigned)ASKING;
	if (text)
		played_say(v, text);
}

static void on_wait(struct played_visit *v)
{
	struct rig *r = server_of(v)->rig;

	r->waits++;
	if (r->wait) {
		v->is_blocked = r->wait[0] == '\0';
		played_say(v, r->wait);
		return;
	}
	r->wait = ":1\r\n";
	conn_close(&v->conn, 0, NULL);
}

static void note(struct played_visit *v, const struct resp *command)
{
	struct buf *b = &v->played->asked;

	for (uint32_t i = 0; i < command->count && i < 2; i++)
		buf_printf(b, i ? " %.*s" : "%.*s", VIEW_ARG(command->items[i].text));
	buf_text(b, ";");
}

/* All of it: the client is what is tested. */
static bool serve(struct played_visit *v, const struct resp *command)
{
	if (played_is(command, "CLUSTER")) {
		say_slots(v);
	} else if (played_is(command, "AUTH")) {
		played_say(v, server_of(v)->rig->auth);
	} else if (played_is(command, "PING")) {
		played_say(v, "+PONG\r\n");
	} else if (played_is(command, "READONLY")) {
		v->marks |= READ_ONLY;
		played_say(v, "+OK\r\n");
	} else if (played_is(command, "SCRIPT")) {
		server_of(v)->loads++;
		note(v, command);
		played_say(v, "$1\r\nx\r\n");
	} else if (played_is_mark(command)) {
		buf_text(&v->played->asked, "MARK;");
		played_say(v, server_of(v)->rig->mark ? server_of(v)->rig->mark : "+OK\r\n");
		v->marks &= ~(unsigned)ASKING;
	} else if (played_is(command, "ASKING")) {
		note(v, command);
		v->marks |= ASKING;
		played_say(v, "+OK\r\n");
	} else {
		note(v, command);
		if (played_is(command, "WAIT"))
			on_wait(v);
		else
			on_get(v, command);
	}
	return true;
}

/* --- answers ------------------------------------------------------------------ */

static const char *get_number(struct server *s, struct played_visit *v, uint32_t number)
{
	char text[32];

	(void)s;
	snprintf(text, sizeof(text), ":%u\r\n", number);
	played_say(v, text);
	return NULL;
}

static const char *redirect(struct server *s, struct played_visit *v, const char *word)
{
	struct server *other = &s->rig->servers[s == &s->rig->servers[0]];
	char text[64];

	snprintf(text, sizeof(text), "-%s %u 127.0.0.1:%u\r\n", word, SLOT, other->played.port);
	played_say(v, text);
	return NULL;
}

static const char *get_moved(struct server *s, struct played_visit *v, uint32_t number)
{
	return s == &s->rig->servers[0] ? redirect(s, v, "MOVED") : get_number(s, v, number);
}

static const char *get_moved_for_ever(struct server *s, struct played_visit *v, uint32_t number)
{
	(void)number;
	return redirect(s, v, "MOVED");
}

static const char *get_asked(struct server *s, struct played_visit *v, uint32_t number)
{
	if (s == &s->rig->servers[1])
		return v->marks & ASKING ? get_number(s, v, number) : "-ERR not asking\r\n";
	return number == 0 ? redirect(s, v, "ASK") : get_number(s, v, number);
}

/* The connection ends at the third GET, once. */
static const char *get_lost(struct server *s, struct played_visit *v, uint32_t number)
{
	if (s->gets != 2)
		return get_number(s, v, number);
	conn_close(&v->conn, 0, NULL);
	return NULL;
}

static const char *get_truncated(struct server *s, struct played_visit *v, uint32_t number)
{
	if (s->gets)
		return get_number(s, v, number);
	played_say(v, "$100\r\nnot all of it");
	conn_close(&v->conn, 0, NULL);
	return NULL;
}

static const char *get_giant(struct server *s, struct played_visit *v, uint32_t number)
{
	return s->gets ? get_number(s, v, number) : "*2000000000\r\n";
}

static const char *get_two_replies(struct server *s, struct played_visit *v, uint32_t number)
{
	get_number(s, v, number);
	return s->gets == 0 ? "+surplus\r\n" : NULL;
}

static const char *get_nothing(struct server *s, struct played_visit *v, uint32_t number)
{
	(void)s, (void)number;
	v->is_blocked = true;
	return NULL;
}

static const char *get_error(struct server *s, struct played_visit *v, uint32_t number)
{
	(void)s, (void)v, (void)number;
	return "-OOM command not allowed\r\n";
}

/* --- the rig --------------------------------------------------------------------- */

static void start_rig(struct rig *r, answer_get *get)
{
	r->loop = loop_new();
	r->resolver = resolver_new();
	r->get = get;
	r->auth = "+OK\r\n";
	r->wait = ":1\r\n";
	for (uint32_t i = 0; i < SERVERS; i++) {
		r->servers[i].rig = r;
		r->servers[i].played.first = serve;
		played_listen(&r->servers[i].played, r->loop);
	}
	r->seed = (struct redis_seed){"127.0.0.1", r->servers[0].played.port};
	r->config = (struct redis_config){.loop = r->loop,
		.resolver = r->resolver,
		.seeds = &r->seed,
		.seed_count = 1,
		.pause_most_ms = 20};
}

static struct rig *rig_new(answer_get *get)
{
	struct rig *r = mem_new(sizeof(*r));

	start_rig(r, get);
	r->redis = redis_new(&r->config);
	return r;
}

static void rig_free(struct rig *r)
{
	if (r->redis)
		redis_free(r->redis);
	for (uint32_t i = 0; i < SERVERS; i++)
		played_hang_up(&r->servers[i].played);
	for (uint32_t i = 0; i < r->made; i++)
		buf_fini(&r->requests[i].request.command);
	buf_fini(&r->order);
	loop_free(r->loop);
	resolver_free(r->resolver);
	free(r);
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct asked *a = container_of(q, struct asked, request);

	a->replies++;
	if (reply->type == RESP_INTEGER)
		snprintf(a->text, sizeof(a->text), "%lld", (long long)reply->integer);
	else
		snprintf(a->text, sizeof(a->text), "%.*s", VIEW_ARG(reply->text));
}

static void on_done(struct redis_request *q, int err)
{
	struct asked *a = container_of(q, struct asked, request);

	a->done++;
	a->err = err;
	a->rig->done++;
	buf_printf(&a->rig->order, "%u ", a->number);
}

/* GET and its number, not yet handed over. */
static struct asked *ask(struct rig *r)
{
	struct asked *a = &r->requests[r->made];

	assert_true(r->made < REQUESTS_MOST);
	a->rig = r;
	a->number = r->made++;
	a->request.limit_ms = 20000;
	a->request.on_reply = on_reply;
	a->request.on_done = on_done;
	resp_begin(&a->request.command, 2);
	resp_bytes(&a->request.command, VIEW("GET"));
	resp_number(&a->request.command, a->number);
	return a;
}

static struct asked *submit(struct rig *r, bool repeatable)
{
	struct asked *a = ask(r);

	a->request.repeatable = repeatable;
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	assert_int_equal(a->done, 0);
	return a;
}

static void submit_at(struct rig *r, uint16_t slot)
{
	assert_int_equal(redis_submit(r->redis, slot, &ask(r)->request), 0);
}

static bool all_done(void *context)
{
	struct rig *r = context;

	return r->done == r->made;
}

static void drive(struct rig *r)
{
	drive_until(r->loop, all_done, r);
	for (uint32_t i = 0; i < r->made; i++)
		assert_int_equal(r->requests[i].done, 1);
}

struct pause {
	struct timer timer;
	bool over;
};

static void on_pause(struct timer *t)
{
	container_of(t, struct pause, timer)->over = true;
}

static bool is_over(void *context)
{
	return ((struct pause *)context)->over;
}

/* Longer than any pause of a lane's first attempts, for what must not happen meanwhile. */
static void let_pauses_pass(struct rig *r)
{
	struct pause p = {.timer.on_time = on_pause};

	timer_start(r->loop, &p.timer, 100);
	drive_until(r->loop, is_over, &p);
}

static void assert_asked(struct server *s, const char *want)
{
	buf_append(&s->played.asked, "", 1);
	assert_string_equal((const char *)buf_bytes(&s->played.asked), want);
	buf_cut(&s->played.asked, buf_length(&s->played.asked) - 1);
}

/* Each request has its own number for a reply, and they were done in the order of submission. */
static void assert_all_answered_in_order(struct rig *r)
{
	struct buf want = {0};

	for (uint32_t i = 0; i < r->made; i++) {
		assert_int_equal(r->requests[i].err, 0);
		assert_int_equal(strtoul(r->requests[i].text, NULL, 10), i);
		buf_printf(&want, "%u ", i);
	}
	assert_int_equal(buf_length(&r->order), buf_length(&want));
	assert_memory_equal(buf_bytes(&r->order), buf_bytes(&want), buf_length(&want));
	buf_fini(&want);
}

/* --- tests ------------------------------------------------------------------------- */

static void each_request_is_answered_once_and_in_order(void **state)
{
	struct rig *r = rig_new(get_number);

	(void)state;
	for (int i = 0; i < 2000; i++)
		submit(r, i % 2);
	drive(r);
	assert_all_answered_in_order(r);
	assert_int_equal(count_read(&redis_figures(r->redis)->answered), 2000);
	assert_int_equal(count_read(&redis_figures(r->redis)->repeated), 0);
	rig_free(r);
}

static void a_request_goes_to_the_node_that_has_the_slot(void **state)
{
	struct rig *r = rig_new(get_number);
	struct asked *a = ask(r);

	(void)state;
	assert_int_equal(redis_submit(r->redis, 16383, &a->request), 0);
	drive(r);
	assert_int_equal(r->servers[0].gets, 0);
	assert_int_equal(r->servers[1].gets, 1);
	rig_free(r);
}

static void what_has_moved_is_sent_again_in_its_order(void **state)
{
	struct rig *r = rig_new(get_moved);

	(void)state;
	for (int i = 0; i < 10; i++)
		submit(r, false);
	drive(r);
	assert_all_answered_in_order(r);
	assert_asked(
		&r->servers[1], "GET 0;GET 1;GET 2;GET 3;GET 4;GET 5;GET 6;GET 7;GET 8;GET 9;");
	assert_int_equal(count_read(&redis_figures(r->redis)->moved), 10);
	while (count_read(&redis_figures(r->redis)->maps) < 2) /* asked for because of MOVED */
		drive_turns(r->loop, 1);
	assert_int_equal(count_read(&redis_figures(r->redis)->state), REDIS_WHOLE);
	rig_free(r);
}

static void a_loop_of_redirects_ends_with_the_time_of_the_request(void **state)
{
	struct rig *r = rig_new(get_moved_for_ever);
	struct asked *a = ask(r);

	(void)state;
	a->request.limit_ms = 500;
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	drive(r);
	assert_int_equal(a->err, ERR_TIMEOUT);
	assert_false(a->request.unknown);
	/* Not as fast as the wire: with pauses. */
	assert_in_range(count_read(&redis_figures(r->redis)->moved), 2, 60);
	rig_free(r);
}

static void ask_is_followed_once_and_changes_no_map(void **state)
{
	struct rig *r = rig_new(get_asked);

	(void)state;
	submit(r, false);
	drive(r);
	submit(r, false);
	drive(r);
	assert_all_answered_in_order(r);
	assert_asked(&r->servers[0], "GET 0;GET 1;");
	assert_asked(&r->servers[1], "ASKING;GET 0;");
	assert_int_equal(count_read(&redis_figures(r->redis)->asked), 1);
	rig_free(r);
}

static const char *refusal;

/* Refuses the first three, whatever they are. */
static const char *get_refused(struct server *s, struct played_visit *v, uint32_t number)
{
	return s->gets < 3 ? refusal : get_number(s, v, number);
}

static void what_the_cluster_refuses_for_a_moment_is_sent_again(void **state)
{
	static const char *const rows[] = {
		"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
		"-CLUSTERDOWN The cluster is down\r\n",
		"-LOADING Redis is loading the dataset in memory\r\n",
		"-BUSY Redis is busy running a script.\r\n",
		"-MASTERDOWN Link with MASTER is down\r\n",
		"-READONLY You can't write against a read only replica.\r\n",
		"-UNBLOCKED force unblock from blocking operation\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(get_refused);

		refusal = rows[i];
		submit(r, false);
		submit(r, false);
		submit(r, false);
		drive(r);
		assert_all_answered_in_order(r);
		assert_asked(&r->servers[0], "GET 0;GET 1;GET 2;GET 0;GET 1;GET 2;");
		assert_int_equal(count_read(&redis_figures(r->redis)->refused), 3);
		rig_free(r);
	}
}

/* Refuses number 0 once, and takes its time for what stands behind it. */
static const char *get_refused_and_slow(struct server *s, struct played_visit *v, uint32_t number)
{
	if (s->gets)
		return get_number(s, v, number);
	v->is_blocked = true;
	return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
}

static void nothing_new_is_sent_while_something_waits_to_be_sent_again(void **state)
{
	struct rig *r = rig_new(get_refused_and_slow);
	struct server *s = &r->servers[0];

	(void)state;
	submit(r, false);
	submit(r, false);
	while (s->gets == 0)
		drive_turns(r->loop, 1);
	submit(r, false);
	let_pauses_pass(r);
	played_unblock(&s->played, "");
	drive(r);
	assert_asked(s, "GET 0;GET 1;GET 0;GET 2;");
	rig_free(r);
}

/* A slot on its way from server 0 to 1, which becomes its master behind the first that it refuses. */
static const char *get_arriving(struct server *s, struct played_visit *v, uint32_t number)
{
	if (s == &s->rig->servers[0])
		return redirect(s, v, "ASK");
	return s->gets ? get_number(s, v, number)
		       : "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
}

static void none_overtakes_one_that_is_refused_just_before_the_slot_arrives(void **state)
{
	struct rig *r = rig_new(get_arriving);

	(void)state;
	for (int i = 0; i < 4; i++)
		submit(r, false);
	drive(r);
	assert_all_answered_in_order(r);
	assert_asked(&r->servers[1], "ASKING;GET 0;ASKING;GET 0;ASKING;GET 1;ASKING;GET 2;"
				     "ASKING;GET 3;");
	rig_free(r);
}

static void other_errors_are_the_callers_to_judge(void **state)
{
	struct rig *r = rig_new(get_error);
	struct asked *a = submit(r, true);

	(void)state;
	drive(r);
	assert_int_equal(a->err, 0);
	assert_string_equal(a->text, "OOM command not allowed");
	assert_string_equal(redis_fault(r->redis), "it is out of memory (maxmemory)");
	rig_free(r);
}

static void who_gives_no_map_says_why(void **state)
{
	static const struct {
		const char *slots;
		const char *fault;
	} rows[] = {
		{"-ERR This instance has cluster support disabled\r\n",
			"it is no Redis Cluster (cluster-enabled no)"},
		{"*0\r\n", "it has no slots: the Redis Cluster is not made yet"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(get_number);
		struct asked *a = ask(r);

		r->slots = rows[i].slots;
		a->request.limit_ms = 300;
		assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
		drive(r);
		assert_int_equal(a->err, ERR_TIMEOUT);
		assert_string_equal(redis_fault(r->redis), rows[i].fault);
		rig_free(r);
	}
}

static void a_lost_connection_repeats_only_what_may_be_repeated(void **state)
{
	struct rig *r = rig_new(get_lost);

	(void)state;
	submit(r, true);
	submit(r, true);
	submit(r, true);  /* the one at which the connection ends */
	submit(r, false); /* behind it: sent, and nobody knows */
	submit(r, true);
	drive(r);
	assert_int_equal(r->requests[3].err, ERR_CLOSED);
	assert_true(r->requests[3].request.unknown);
	assert_string_equal(r->requests[4].text, "4");
	buf_append(&r->order, "", 1);
	assert_string_equal((const char *)buf_bytes(&r->order), "0 1 3 2 4 ");
	assert_asked(&r->servers[0], "GET 0;GET 1;GET 2;GET 2;GET 4;");
	assert_int_equal(count_read(&redis_figures(r->redis)->lost), 1);
	rig_free(r);
}

static void a_reply_that_is_cut_giant_or_surplus_ends_the_connection(void **state)
{
	static answer_get *const rows[] = {get_truncated, get_giant, get_two_replies};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(rows[i]);

		submit(r, true);
		drive(r);
		submit(r, true);
		drive(r);
		assert_all_answered_in_order(r);
		assert_int_equal(count_read(&redis_figures(r->redis)->lost), 1);
		rig_free(r);
	}
}

static void a_server_that_does_not_answer_is_left(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct asked *a, *b;

	(void)state;
	start_rig(r, get_nothing);
	r->config.answer_ms = 200;
	r->redis = redis_new(&r->config);
	a = submit(r, false);
	b = ask(r); /* repeatable, for less time than the server is silent */
	b->request.repeatable = true;
	b->request.limit_ms = 100;
	assert_int_equal(redis_submit(r->redis, SLOT, &b->request), 0);
	drive(r);
	assert_int_equal(a->err, ERR_CLOSED);
	assert_int_equal(b->err, ERR_TIMEOUT);
	assert_true(a->request.unknown && b->request.unknown);
	rig_free(r);
}

/* As after a failover: server 1 has everything. */
static void all_slots_at_server_1(struct rig *r, char slots[128])
{
	snprintf(slots, 128, "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
		r->servers[1].played.port);
	r->slots = slots;
}

static void a_silent_master_is_left_as_soon_as_others_name_its_successor(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct redis_lane *lane;
	struct asked *own;
	char slots[128];

	(void)state;
	start_rig(r, get_number);
	r->config.answer_ms = 2 * HARNESS_LIMIT_MS;
	r->redis = redis_new(&r->config);
	lane = redis_lane_open(r->redis, SLOT, REDIS_MASTER);
	submit(r, true);
	submit_at(r, 16383);
	own = ask(r);
	assert_int_equal(redis_lane_submit(lane, &own->request), 0);
	drive(r);
	while (count_read(&redis_figures(r->redis)->maps) < 2) /* wanted while it connected */
		drive_turns(r->loop, 1);
	r->servers[0].played.is_silent = true;
	submit(r, true);
	own = ask(r);
	own->request.repeatable = true;
	own->request.block_ms = HARNESS_LIMIT_MS;
	assert_int_equal(redis_lane_submit(lane, &own->request), 0);
	let_pauses_pass(r);
	assert_int_equal(r->done, 3);
	all_slots_at_server_1(r, slots);
	drive(r);
	assert_int_equal(r->servers[1].gets, 3);
	redis_lane_close(lane);
	rig_free(r);
}

static void a_server_that_does_not_greet_is_left_and_nothing_was_sent(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct asked *a;

	(void)state;
	start_rig(r, get_number);
	r->servers[0].played.is_silent = true;
	r->config.connect_ms = 50;
	r->redis = redis_new(&r->config);
	a = ask(r);
	a->request.limit_ms = 1500; /* visits last 50 ms, but a busy machine may stand still */
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	drive(r);
	assert_int_equal(a->err, ERR_TIMEOUT);
	assert_false(a->request.unknown);
	assert_true(r->servers[0].played.visit_count >= 2);
	rig_free(r);
}

static void a_wrong_password_is_tried_with_pauses_and_right_ones_do(void **state)
{
	static const struct {
		const char *answer;
		int want;
		const char *fault;
	} rows[] = {
		{"+OK\r\n", 0, NULL},
		{"-WRONGPASS invalid username-password pair or user is disabled.\r\n", ERR_TIMEOUT,
			"user or password is wrong"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = mem_new(sizeof(*r));
		struct asked *a;

		start_rig(r, get_number);
		r->auth = rows[i].answer;
		r->config.user = "isobar";
		r->config.password = "secret";
		r->redis = redis_new(&r->config);
		a = ask(r);
		a->request.limit_ms = 300;
		assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
		drive(r);
		assert_int_equal(a->err, rows[i].want);
		assert_false(a->request.unknown);
		assert_true(r->servers[0].played.visit_count < 60);
		if (rows[i].fault)
			assert_string_equal(redis_fault(r->redis), rows[i].fault);
		else
			assert_null(redis_fault(r->redis));
		rig_free(r);
	}
}

static void one_wait_follows_all_requests_of_a_turn(void **state)
{
	struct rig *r = rig_new(get_number);

	(void)state;
	r->wait = ":7\r\n";
	submit(r, false);
	drive(r);
	for (int i = 0; i < 3; i++) {
		struct asked *a = ask(r);

		a->request.acknowledge = 2;
		assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	}
	drive(r);
	assert_all_answered_in_order(r);
	assert_int_equal(r->requests[0].request.replicas, 0);
	for (int i = 1; i < 4; i++)
		assert_int_equal(r->requests[i].request.replicas, 7);
	assert_asked(&r->servers[0], "GET 0;GET 1;GET 2;GET 3;MARK;WAIT 2;");
	rig_free(r);
}

static void at_most_two_waits_are_under_way_and_the_rest_makes_one_group(void **state)
{
	struct rig *r = rig_new(get_number);

	(void)state;
	submit(r, false);
	drive(r);
	buf_clear(&r->servers[0].played.asked);
	r->wait = ""; /* no answer yet */
	for (int i = 0; i < 5; i++) {
		struct asked *a = ask(r);

		a->request.acknowledge = 1;
		assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
		drive_turns(r->loop, 50);
	}
	assert_asked(&r->servers[0], "GET 1;MARK;WAIT 1;");
	r->wait = ":1\r\n";
	played_unblock(&r->servers[0].played, ":1\r\n");
	drive(r);
	assert_all_answered_in_order(r);
	assert_asked(&r->servers[0],
		"GET 1;MARK;WAIT 1;GET 2;MARK;WAIT 1;GET 3;GET 4;GET 5;MARK;WAIT 1;");
	rig_free(r);
}

static void after_a_connection_lost_before_wait_the_command_goes_again_first(void **state)
{
	struct rig *r = rig_new(get_number);
	struct asked *a = ask(r);

	(void)state;
	r->wait = NULL;
	a->request.acknowledge = 1;
	a->request.repeatable = true;
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	drive(r);
	assert_int_equal(a->err, 0);
	assert_int_equal(a->replies, 2);
	assert_int_equal(a->request.replicas, 1);
	assert_asked(&r->servers[0], "GET 0;MARK;WAIT 1;GET 0;MARK;WAIT 1;");
	rig_free(r);
}

static void a_wait_that_fails_means_again_too(void **state)
{
	struct rig *r = rig_new(get_number);
	struct asked *a = ask(r);

	(void)state;
	r->wait = "";
	a->request.acknowledge = 1;
	a->request.repeatable = true;
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	while (r->waits == 0)
		drive_turns(r->loop, 1);
	r->wait = ":1\r\n";
	played_unblock(&r->servers[0].played, "-UNBLOCKED the role changed\r\n");
	drive(r);
	assert_int_equal(a->request.replicas, 1);
	assert_asked(&r->servers[0], "GET 0;MARK;WAIT 1;GET 0;MARK;WAIT 1;");
	rig_free(r);
}

/* WAIT behind it has waited for nothing that it should have. */
static void a_mark_that_is_refused_means_again_too(void **state)
{
	struct rig *r = rig_new(get_number);
	struct asked *a = ask(r);

	(void)state;
	r->wait = "";
	r->mark = "-ASK 866 127.0.0.1:1\r\n";
	a->request.acknowledge = 1;
	a->request.repeatable = true;
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
	while (r->waits == 0)
		drive_turns(r->loop, 1);
	r->mark = NULL;
	r->wait = ":3\r\n";
	played_unblock(&r->servers[0].played, ":1\r\n");
	drive(r);
	assert_int_equal(a->replies, 2);
	assert_int_equal(a->request.replicas, 3);
	assert_asked(&r->servers[0], "GET 0;MARK;WAIT 1;GET 0;MARK;WAIT 1;");
	rig_free(r);
}

/* Scripts are gone once, for all that is under way. */
static const char *get_without_script(struct server *s, struct played_visit *v, uint32_t number)
{
	return s->gets < 2 ? "-NOSCRIPT No matching script.\r\n" : get_number(s, v, number);
}

static void scripts_are_loaded_first_and_again_when_redis_forgot_them(void **state)
{
	static const char *const scripts[] = {"return 1", "return 2"};
	struct rig *r = mem_new(sizeof(*r));

	(void)state;
	start_rig(r, get_without_script);
	r->config.scripts = scripts;
	r->config.script_count = 2;
	r->redis = redis_new(&r->config);
	submit(r, false);
	submit(r, false);
	drive(r);
	assert_all_answered_in_order(r);
	assert_asked(&r->servers[0], "SCRIPT LOAD;SCRIPT LOAD;GET 0;GET 1;SCRIPT LOAD;SCRIPT LOAD;"
				     "GET 0;GET 1;");
	assert_int_equal(count_read(&redis_figures(r->redis)->reloaded), 1);
	rig_free(r);
}

/* Two connections were greeted; then it forgot its scripts. One hangs behind number 3. */
static const char *get_forgotten(struct server *s, struct played_visit *v, uint32_t number)
{
	if (number < 2 || s->loads > 2)
		return get_number(s, v, number);
	v->is_blocked = number == 3;
	return "-NOSCRIPT No matching script.\r\n";
}

static void scripts_are_loaded_when_nothing_is_under_way_that_would_find_them(void **state)
{
	static const char *const scripts[] = {"return 1"};
	struct rig *r = mem_new(sizeof(*r));
	struct server *s = &r->servers[0];

	(void)state;
	start_rig(r, get_forgotten);
	r->config.scripts = scripts;
	r->config.script_count = 1;
	r->redis = redis_new(&r->config);
	submit_at(r, SLOT);
	submit_at(r, SLOT + 1);
	drive(r);
	submit_at(r, SLOT);
	submit_at(r, SLOT + 1);
	submit_at(r, SLOT + 1);
	while (s->gets < 4)
		drive_turns(r->loop, 1);
	let_pauses_pass(r);
	assert_int_equal(s->loads, 2);
	assert_int_equal(s->gets, 4);
	played_unblock(&s->played, "");
	drive(r);
	assert_int_equal(s->loads, 3);
	buf_append(&r->order, "", 1);
	assert_non_null(strstr((const char *)buf_bytes(&r->order), "3 4 "));
	rig_free(r);
}

static void what_is_too_much_is_refused_at_once(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct asked *a;

	(void)state;
	start_rig(r, get_number);
	r->config.requests_most = 3;
	r->redis = redis_new(&r->config);
	for (int i = 0; i < 3; i++)
		submit(r, false);
	a = ask(r);
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), ERR_FULL);
	r->made--;
	buf_fini(&a->request.command);
	drive(r);
	submit(r, false);
	drive(r);
	assert_all_answered_in_order(r);
	rig_free(r);
}

static void bytes_are_bounded_too(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct asked *a;

	(void)state;
	start_rig(r, get_number);
	r->config.bytes_most = 50; /* a request has 20 */
	r->redis = redis_new(&r->config);
	submit(r, false);
	submit(r, false);
	a = ask(r);
	assert_int_equal(redis_submit(r->redis, SLOT, &a->request), ERR_FULL);
	r->made--;
	buf_fini(&a->request.command);
	drive(r);
	submit(r, false);
	drive(r);
	rig_free(r);
}

/* Number 0 is never answered. */
static const char *get_blocked(struct server *s, struct played_visit *v, uint32_t number)
{
	return number ? get_number(s, v, number) : get_nothing(s, v, number);
}

static void a_lane_of_its_own_blocks_nobody(void **state)
{
	struct rig *r = rig_new(get_blocked);
	struct redis_lane *lane = redis_lane_open(r->redis, SLOT, REDIS_MASTER);
	struct asked *blocked = ask(r), *other;

	(void)state;
	assert_int_equal(redis_lane_submit(lane, &blocked->request), 0);
	while (r->servers[0].gets == 0)
		drive_turns(r->loop, 1);
	other = submit(r, false);
	while (!other->done)
		drive_turns(r->loop, 1);
	assert_int_equal(other->err, 0);
	assert_int_equal(blocked->done, 0);
	redis_lane_close(lane);
	assert_int_equal(blocked->done, 0);
	drive(r);
	assert_int_equal(blocked->err, ERR_SHUTDOWN);
	assert_true(blocked->request.unknown);
	rig_free(r);
}

static void a_replica_lane_reads_from_a_replica(void **state)
{
	struct rig *r = rig_new(get_number);
	struct redis_lane *lane = redis_lane_open(r->redis, SLOT, REDIS_REPLICA);
	struct asked *a = ask(r);
	struct server *replica = &r->servers[1];
	char slots[128];

	(void)state;
	snprintf(slots, sizeof(slots),
		"*1\r\n*4\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
		"*2\r\n$-1\r\n:%u\r\n", /* nil: the host of who was asked */
		r->servers[0].played.port, replica->played.port);
	r->slots = slots;
	assert_int_equal(redis_lane_submit(lane, &a->request), 0);
	drive(r);
	assert_int_equal(a->err, 0);
	assert_int_equal(replica->gets, 1);
	assert_true(replica->played.visits[replica->played.visit_count - 1]->marks & READ_ONLY);
	rig_free(r);
}

static void a_map_that_is_nonsense_is_asked_for_again(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct asked *a;

	(void)state;
	start_rig(r, get_number);
	r->slots = "*1\r\n*3\r\n:9\r\n:1\r\n:7\r\n";
	r->redis = redis_new(&r->config);
	a = submit(r, false);
	while (count_read(&redis_figures(r->redis)->maps) < 2)
		drive_turns(r->loop, 1);
	assert_int_equal(a->done, 0);
	assert_int_equal(count_read(&redis_figures(r->redis)->state), REDIS_PARTIAL);
	r->slots = NULL;
	drive(r);
	assert_int_equal(a->err, 0);
	assert_int_equal(count_read(&redis_figures(r->redis)->state), REDIS_WHOLE);
	rig_free(r);
}

static void the_end_of_the_client_is_told_to_all(void **state)
{
	struct rig *r = rig_new(get_nothing);

	(void)state;
	submit(r, true);
	while (r->servers[0].gets == 0)
		drive_turns(r->loop, 1);
	submit(r, true);
	redis_free(r->redis);
	r->redis = NULL;
	assert_int_equal(r->done, 2);
	assert_int_equal(r->requests[0].err, ERR_SHUTDOWN);
	assert_true(r->requests[0].request.unknown);
	assert_int_equal(r->requests[1].err, ERR_SHUTDOWN);
	assert_false(r->requests[1].request.unknown);
	rig_free(r);
}

static void tls_is_spoken_and_a_stranger_is_not_trusted(void **state)
{
	for (int trusted = 0; trusted < 2; trusted++) {
		struct rig *r = mem_new(sizeof(*r));
		struct tls_client_settings settings = {.verify = true};
		struct asked *a;

		(void)state;
		start_rig(r, get_number);
		snprintf(r->folder, sizeof(r->folder), "/tmp/isobar-redis-XXXXXX");
		assert_non_null(mkdtemp(r->folder));
		identity_make(&r->identity, r->folder, "redis", "IP:127.0.0.1", DAY, NULL, false);
		r->server_tls = server_context(&r->identity, NULL, false);
		r->servers[0].played.tls = r->servers[1].played.tls = r->server_tls;
		settings.ca = trusted ? r->identity.certificate_file : NULL;
		r->config.tls = r->client_tls = client_context(&settings);
		r->redis = redis_new(&r->config);
		a = ask(r);
		a->request.limit_ms = trusted ? 20000 : 300;
		assert_int_equal(redis_submit(r->redis, SLOT, &a->request), 0);
		drive(r);
		assert_int_equal(a->err, trusted ? 0 : ERR_TIMEOUT);
		redis_free(r->redis);
		r->redis = NULL;
		tls_unref(r->client_tls);
		tls_unref(r->server_tls);
		identity_free(&r->identity);
		rmdir(r->folder);
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_request_is_answered_once_and_in_order),
		cmocka_unit_test(a_request_goes_to_the_node_that_has_the_slot),
		cmocka_unit_test(what_has_moved_is_sent_again_in_its_order),
		cmocka_unit_test(a_loop_of_redirects_ends_with_the_time_of_the_request),
		cmocka_unit_test(ask_is_followed_once_and_changes_no_map),
		cmocka_unit_test(what_the_cluster_refuses_for_a_moment_is_sent_again),
		cmocka_unit_test(nothing_new_is_sent_while_something_waits_to_be_sent_again),
		cmocka_unit_test(none_overtakes_one_that_is_refused_just_before_the_slot_arrives),
		cmocka_unit_test(other_errors_are_the_callers_to_judge),
		cmocka_unit_test(who_gives_no_map_says_why),
		cmocka_unit_test(a_lost_connection_repeats_only_what_may_be_repeated),
		cmocka_unit_test(a_reply_that_is_cut_giant_or_surplus_ends_the_connection),
		cmocka_unit_test(a_server_that_does_not_answer_is_left),
		cmocka_unit_test(a_silent_master_is_left_as_soon_as_others_name_its_successor),
		cmocka_unit_test(a_server_that_does_not_greet_is_left_and_nothing_was_sent),
		cmocka_unit_test(a_wrong_password_is_tried_with_pauses_and_right_ones_do),
		cmocka_unit_test(one_wait_follows_all_requests_of_a_turn),
		cmocka_unit_test(at_most_two_waits_are_under_way_and_the_rest_makes_one_group),
		cmocka_unit_test(after_a_connection_lost_before_wait_the_command_goes_again_first),
		cmocka_unit_test(a_wait_that_fails_means_again_too),
		cmocka_unit_test(a_mark_that_is_refused_means_again_too),
		cmocka_unit_test(scripts_are_loaded_first_and_again_when_redis_forgot_them),
		cmocka_unit_test(scripts_are_loaded_when_nothing_is_under_way_that_would_find_them),
		cmocka_unit_test(what_is_too_much_is_refused_at_once),
		cmocka_unit_test(bytes_are_bounded_too),
		cmocka_unit_test(a_lane_of_its_own_blocks_nobody),
		cmocka_unit_test(a_replica_lane_reads_from_a_replica),
		cmocka_unit_test(a_map_that_is_nonsense_is_asked_for_again),
		cmocka_unit_test(the_end_of_the_client_is_told_to_all),
		cmocka_unit_test(tls_is_spoken_and_a_stranger_is_not_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
