#include "report/report.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define WAITING_MOST 256u /* events between here and the journal */
#define STOP_WAIT_MS 1000u
#define TICK_MS 500u
#define OWN_PUBLISHER 0 /* sources and accounts have numbers from 1 on */

/* Something to be told: a notice about messages, or another one. */
struct telling {
	struct list link;
	bool is_report;
	struct alarm_notice notice;
	char *subject;                        /* NULL: this broker */
	struct event_notice_text notice_text; /* texts owned */
};

/* An event on its way to the journal. */
struct outgoing {
	struct list link;
	struct buf topic;
	struct buf text;
	struct uuid id;
};

struct reports {
	char *centre_id;
	struct commit_port *port;
	bool publishes;
	pthread_mutex_t lock; /* of everything from here to `thread` */
	pthread_cond_t changed;
	struct hierarchy *hierarchy;
	struct rejects rejects;
	struct alarms alarms;
	struct list tellings;
	struct list outgoing; /* written, not submitted */
	uint32_t waiting;     /* tellings and outgoing */
	bool is_posted;       /* `submit` is under way to the loop */
	bool is_stopping;
	uint64_t published;
	uint64_t dropped;
	pthread_t thread;
	/* the port's loop only */
	struct task submit;
	struct commit_owner owner;
	struct commit_waiter waiter;
};

/* --- on the port's loop ----------------------------------------------- */

static void outgoing_free(struct outgoing *o)
{
	buf_fini(&o->topic);
	buf_fini(&o->text);
	free(o);
}

static struct outgoing *first_outgoing(struct reports *r)
{
	struct outgoing *o = NULL;

	pthread_mutex_lock(&r->lock);
	if (!list_is_empty(&r->outgoing))
		o = container_of(r->outgoing.next, struct outgoing, link);
	pthread_mutex_unlock(&r->lock);
	return o;
}

static void remove_first(struct reports *r, struct outgoing *o)
{
	pthread_mutex_lock(&r->lock);
	list_remove(&o->link);
	r->waiting--;
	pthread_mutex_unlock(&r->lock);
	outgoing_free(o);
}

static void submit_all(struct reports *r)
{
	struct outgoing *o;

	while ((o = first_outgoing(r)) != NULL) {
		struct commit_request request = {
			.message =
				{
					.topic = buf_view(&o->topic),
					.payload = buf_view(&o->text),
					.id = o->id,
					.publisher = OWN_PUBLISHER,
					.qos = 1, /* MON-42 */
				},
			.claim = true,
		};

		if (commit_submit(r->port, &r->owner, &request, 1) != 0) {
			commit_wait(r->port, &r->waiter);
			return;
		}
		remove_first(r, o);
	}
}

static void on_submit(struct task *t)
{
	struct reports *r = container_of(t, struct reports, submit);

	pthread_mutex_lock(&r->lock);
	r->is_posted = false;
	pthread_mutex_unlock(&r->lock);
	if (list_is_empty(&r->waiter.link))
		submit_all(r);
}

static void on_ready(struct commit_waiter *w)
{
	submit_all(container_of(w, struct reports, waiter));
}

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct reports *r = container_of(o, struct reports, owner);

	(void)token;
	(void)outcome;
	pthread_mutex_lock(&r->lock);
	r->published++;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

/* --- on the thread of its own ------------------------------------------ */

static void telling_free(struct telling *t)
{
	reject_unref(t->notice.example);
	free(t->subject);
	free((char *)(uintptr_t)t->notice_text.description);
	free((char *)(uintptr_t)t->notice_text.from);
	free((char *)(uintptr_t)t->notice_text.until);
	free(t);
}

/* With the lock. False: it will not be told. */
static bool tell(struct reports *r, struct telling *t)
{
	if (!r->publishes || r->waiting >= WAITING_MOST) {
		r->dropped += r->publishes;
		telling_free(t);
		return false;
	}
	r->waiting++;
	list_append(&r->tellings, &t->link);
	pthread_cond_broadcast(&r->changed);
	return true;
}

static void tell_report(struct reports *r, const struct alarm_notice *notice)
{
	struct telling *t = mem_new(sizeof(*t));

	t->is_report = true;
	t->notice = *notice;
	tell(r, t);
}

static struct outgoing *write_event(const struct reports *r, const struct telling *t)
{
	struct outgoing *o = mem_new(sizeof(*o));
	struct event_head head = {
		.source = r->centre_id,
		.subject = view_of(t->subject ? t->subject : r->centre_id),
		.time_ms = clock_wall_ms(),
	};

	uuid_random(&o->id);
	head.id = o->id;
	if (t->is_report)
		head.subject = t->notice.example->subject;
	buf_text(&o->topic, "monitor/a/wis2/"); /* MON-20 */
	buf_append(&o->topic, head.subject.p, head.subject.n);
	if (t->is_report)
		event_put_report(&o->text, &head, &t->notice);
	else
		event_put_notice(&o->text, &head, &t->notice_text);
	return o;
}

/* With the lock, which it gives away while it writes. */
static void write_one(struct reports *r)
{
	struct telling *t = container_of(r->tellings.next, struct telling, link);
	struct outgoing *o;

	list_remove(&t->link);
	pthread_mutex_unlock(&r->lock);
	o = write_event(r, t);
	telling_free(t);
	pthread_mutex_lock(&r->lock);
	list_append(&r->outgoing, &o->link);
	if (r->is_posted)
		return;
	r->is_posted = true;
	loop_post(commit_port_loop(r->port), &r->submit);
}

static void wait_a_while(struct reports *r)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	pthread_cond_timedwait(&r->changed, &r->lock, &until);
}

static void *run(void *context)
{
	struct reports *r = context;
	struct alarm_notice notice;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		while (alarms_next(&r->alarms, clock_mono_ms(), &notice))
			tell_report(r, &notice);
		if (!list_is_empty(&r->tellings))
			write_one(r);
		else if (r->is_stopping)
			break;
		else
			wait_a_while(r);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* --- life ------------------------------------------------------------- */

struct reports *reports_new(const struct reports_settings *settings)
{
	struct reports *r = mem_new(sizeof(*r));
	pthread_condattr_t monotonic;

	r->centre_id = mem_text(settings->centre_id);
	r->port = settings->port;
	r->publishes = settings->publishes;
	r->submit.run = on_submit;
	r->owner.on_done = on_done;
	r->waiter.on_ready = on_ready;
	list_init(&r->waiter.link);
	list_init(&r->tellings);
	list_init(&r->outgoing);
	alarms_init(&r->alarms);
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&r->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_create(&r->thread, NULL, run, r);
	return r;
}

struct leaving {
	struct task task;
	struct reports *reports;
	bool is_done;
};

static void on_leave(struct task *t)
{
	struct leaving *l = container_of(t, struct leaving, task);
	struct reports *r = l->reports;

	commit_wait_cancel(&r->waiter);
	commit_forget(r->port, &r->owner);
	pthread_mutex_lock(&r->lock);
	l->is_done = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

/* What is waiting reaches the journal, if it takes it within a second. */
static void drain(struct reports *r)
{
	uint64_t end = clock_mono_ms() + STOP_WAIT_MS;

	pthread_mutex_lock(&r->lock);
	while (r->waiting && clock_mono_ms() < end)
		wait_a_while(r);
	if (r->waiting)
		log_warn("report", "events-lost", "count=%u the journal did not take them",
			r->waiting);
	pthread_mutex_unlock(&r->lock);
}

void reports_stop(struct reports *r)
{
	struct leaving leaving = {.task = {.run = on_leave}, .reports = r};

	drain(r);
	pthread_mutex_lock(&r->lock);
	r->publishes = false;
	pthread_mutex_unlock(&r->lock);
	loop_post(commit_port_loop(r->port), &leaving.task);
	pthread_mutex_lock(&r->lock);
	while (!leaving.is_done)
		wait_a_while(r);
	pthread_mutex_unlock(&r->lock);
}

void reports_free(struct reports *r)
{
	pthread_mutex_lock(&r->lock);
	r->publishes = false;
	r->is_stopping = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	while (!list_is_empty(&r->outgoing)) {
		struct outgoing *o = container_of(r->outgoing.next, struct outgoing, link);

		list_remove(&o->link);
		outgoing_free(o);
	}
	alarms_fini(&r->alarms);
	rejects_fini(&r->rejects);
	if (r->hierarchy)
		hierarchy_unref(r->hierarchy);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r->centre_id);
	free(r);
}

/* --- what others call ------------------------------------------------- */

void reports_set_hierarchy(struct reports *r, struct hierarchy *h)
{
	struct hierarchy *old;

	pthread_mutex_lock(&r->lock);
	old = r->hierarchy;
	r->hierarchy = hierarchy_ref(h);
	pthread_mutex_unlock(&r->lock);
	if (old)
		hierarchy_unref(old);
}

/* Whom a message is about that came through a cache or another broker: level 4, if that is a centre.
 * With the lock. */
static struct view subject_of(const struct reports *r, const struct report *one)
{
	struct view rest = one->topic;
	struct view centre;

	if (!one->speaks_for_others || r->hierarchy == NULL)
		return (struct view){NULL, 0};
	for (int level = 1; level < 4; level++)
		view_cut(&rest, '/');
	centre = view_cut(&rest, '/');
	return hierarchy_knows_centre(r->hierarchy, centre) ? centre : (struct view){NULL, 0};
}

void reports_add(struct reports *r, const struct report *one)
{
	struct alarm_notice notice;
	struct reject *made;

	pthread_mutex_lock(&r->lock);
	made = reject_new(one, subject_of(r, one), clock_wall_ms());
	rejects_add(&r->rejects, made);
	/* A bad event is never answered by one (MON-42). */
	if (r->publishes && !view_starts_with(one->topic, VIEW("monitor/")) &&
		alarms_add(&r->alarms, made, clock_mono_ms(), &notice))
		tell_report(r, &notice);
	pthread_mutex_unlock(&r->lock);
	reject_unref(made);
}

bool reports_tell(struct reports *r, const char *subject, const struct event_notice_text *notice)
{
	struct telling *t = mem_new(sizeof(*t));
	bool is_taken;

	t->subject = mem_text(subject);
	t->notice_text = (struct event_notice_text){notice->which, mem_text(notice->description),
		mem_text(notice->from), mem_text(notice->until)};
	pthread_mutex_lock(&r->lock);
	is_taken = tell(r, t);
	pthread_mutex_unlock(&r->lock);
	return is_taken;
}

void reports_notice(
	struct reports *r, const char *subject, enum event_notice which, const char *description)
{
	reports_tell(r, subject,
		&(struct event_notice_text){.which = which, .description = description});
}

uint32_t reports_find(struct reports *r, const struct rejects_query *q, struct reject **out)
{
	uint32_t n;

	pthread_mutex_lock(&r->lock);
	n = rejects_find(&r->rejects, q, out);
	pthread_mutex_unlock(&r->lock);
	return n;
}

struct reject *reports_get(struct reports *r, uint64_t number)
{
	struct reject *found;

	pthread_mutex_lock(&r->lock);
	found = rejects_get(&r->rejects, number);
	pthread_mutex_unlock(&r->lock);
	return found;
}

void reports_figures(struct reports *r, struct reports_figures *out)
{
	pthread_mutex_lock(&r->lock);
	*out = (struct reports_figures){
		.events = r->published,
		.events_dropped = r->dropped,
		.rejects = r->rejects.count,
		.reject_bytes = r->rejects.bytes,
	};
	pthread_mutex_unlock(&r->lock);
}
