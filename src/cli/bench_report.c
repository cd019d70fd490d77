/* cli/bench_report.c - what a run showed, as one JSON line */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/buf.h"
#include "cli/bench.h"

/* First bytes of /proc/PID/name, NUL-terminated; false when it cannot be read. */
static bool read_proc(uint64_t pid, const char *name, char *out, size_t size)
{
	char path[64];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%llu/%s", (unsigned long long)pid, name);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	fclose(f);
	return n > 0;
}

/* Nanoseconds where /proc/PID/stat has hundredths of a second. */
double bench_cpu_seconds(uint64_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
		return -1;
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t bench_anon_kib(uint64_t pid)
{
	char text[8192];
	const char *p;

	if (!read_proc(pid, "status", text, sizeof(text)) || (p = strstr(text, "RssAnon:")) == NULL)
		return 0;
	return strtoull(p + strlen("RssAnon:"), NULL, 10);
}

struct totals {
	uint64_t lost;
	uint64_t repeated;
	uint64_t reordered;
	uint64_t refused;
};

static struct totals add_up(const struct bench *b)
{
	struct totals t = {0};

	for (uint32_t i = 0; i < b->config.counts[BENCH_SUBSCRIBER]; i++) {
		const struct bench_link *l = &b->links[i];

		for (uint32_t p = b->publisher_at; p < b->link_count; p++) {
			const struct sequence *s = &l->sequences[b->links[p].number];

			t.lost += sequence_lost(
				s, bench_filter_expected(b, l->filter, b->links[p].share));
			t.repeated += s->repeated;
			t.reordered += s->reordered;
		}
	}
	for (uint32_t p = b->publisher_at; p < b->link_count; p++)
		t.refused += b->links[p].refused;
	return t;
}

static void put_config(struct buf *out, const struct bench_config *c)
{
	buf_printf(out, "\"protocol\":%u,\"qos\":%llu,\"publish_qos\":%llu,", c->version,
		(unsigned long long)c->qos, (unsigned long long)c->publish_qos);
	buf_printf(out, "\"subscribers\":%llu,\"publishers\":%llu,\"idle\":%llu,\"stopped\":%llu,",
		(unsigned long long)c->counts[BENCH_SUBSCRIBER],
		(unsigned long long)c->counts[BENCH_PUBLISHER],
		(unsigned long long)c->counts[BENCH_IDLE],
		(unsigned long long)c->counts[BENCH_STOPPED]);
	buf_printf(out,
		"\"messages\":%llu,\"rate\":%llu,\"size\":%llu,\"topics\":%llu,\"ahead\":%llu,",
		(unsigned long long)c->messages, (unsigned long long)c->rate,
		(unsigned long long)c->size, (unsigned long long)c->topics,
		(unsigned long long)c->ahead);
}

static void put_latency(struct buf *out, const struct latency *l)
{
	static const struct {
		const char *name;
		double share;
	} rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1.0}};

	buf_text(out, "\"latency_us\":{");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		buf_printf(out, "%s\"%s\":%.1f", i ? "," : "", rows[i].name,
			(double)latency_at(l, rows[i].share) / 1000);
	buf_text(out, "}");
}

/* What the broker used, and what a second of it gave: deliveries, else messages taken. */
static void put_broker(struct buf *out, const struct bench *b)
{
	double cpu = b->broker_cpu[1] - b->broker_cpu[0];
	double work = (double)(b->expected ? b->delivered : b->settled);

	if (b->config.pid == 0 || b->broker_cpu[0] < 0 || b->broker_cpu[1] < 0)
		return;
	buf_printf(out,
		",\"broker\":{\"cpu_seconds\":%.3f,\"per_cpu_second\":%.0f,\"anon_kib\":%llu}", cpu,
		cpu > 0 ? work / cpu : 0, (unsigned long long)b->broker_anon_kib);
}

static double own_cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

bool bench_report(const struct bench *b)
{
	double seconds = (double)(b->end_ns - b->start_ns) * 1e-9;
	struct totals t = add_up(b);
	struct buf out = {0};

	buf_text(&out, "{");
	put_config(&out, &b->config);
	buf_printf(&out, "\"sent\":%llu,\"settled\":%llu,\"refused\":%llu,",
		(unsigned long long)b->sent, (unsigned long long)b->settled,
		(unsigned long long)t.refused);
	buf_printf(&out, "\"expected\":%llu,\"delivered\":%llu,\"lost\":%llu,\"repeated\":%llu,",
		(unsigned long long)b->expected, (unsigned long long)b->delivered,
		(unsigned long long)t.lost, (unsigned long long)t.repeated);
	buf_printf(&out, "\"reordered\":%llu,\"foreign\":%llu,\"timed_out\":%s,\"seconds\":%.3f,",
		(unsigned long long)t.reordered, (unsigned long long)b->foreign,
		b->timed_out ? "true" : "false", seconds);
	buf_printf(&out, "\"deliveries_per_second\":%.0f,\"messages_per_second\":%.0f,",
		seconds > 0 ? (double)b->delivered / seconds : 0,
		seconds > 0 ? (double)b->sent / seconds : 0);
	put_latency(&out, &b->latency);
	buf_printf(&out, ",\"load_cpu_seconds\":%.3f", own_cpu_seconds());
	put_broker(&out, b);
	buf_text(&out, "}\n");
	fwrite(buf_bytes(&out), 1, buf_length(&out), stdout);
	buf_fini(&out);
	return !b->failed && !b->timed_out && t.lost + t.repeated + t.reordered + t.refused == 0;
}
