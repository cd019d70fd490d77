/* cluster/fault.c - errors of Redis' by how they begin, or by words within: Lua puts some of its own before */
#include "cluster/fault.h"

#include <stdbool.h>
#include <string.h>

static const struct {
	struct view begins; /* empty: any */
	struct view holds;  /* the same */
	const char *text;   /* NULL: no fault */
} faults[] = {
	{VIEW("MOVED "), VIEW(""), NULL},
	{VIEW("ASK "), VIEW(""), NULL},
	{VIEW("TRYAGAIN"), VIEW(""), NULL},
	{VIEW("NOSCRIPT"), VIEW(""), NULL},
	{VIEW("UNBLOCKED"), VIEW(""), NULL},
	{VIEW("READONLY"), VIEW(""), NULL},
	{VIEW("MASTERDOWN"), VIEW(""), NULL},
	{VIEW("ERR no such key"), VIEW(""), NULL},
	{VIEW("NOAUTH"), VIEW(""), "it asks for a password"},
	{VIEW("WRONGPASS"), VIEW(""), "user or password is wrong"},
	{VIEW("ERR AUTH "), VIEW(""), "it has no password, and cluster.redis names one"},
	{VIEW("NOPERM"), VIEW(""), "its user may not do what Isobar needs"},
	{VIEW(""), VIEW("can't run this command"), "its user may not do what Isobar needs"},
	{VIEW(""), VIEW("can't access at least one"), "its user may not do what Isobar needs"},
	{VIEW("DENIED"), VIEW(""), "it takes connections of its own machine only (protected-mode)"},
	{VIEW("ERR max number of clients"), VIEW(""), "it has too many connections (maxclients)"},
	{VIEW(""), VIEW("cluster support disabled"), "it is no Redis Cluster (cluster-enabled no)"},
	{VIEW("no slots are assigned"), VIEW(""),
		"it has no slots: the Redis Cluster is not made yet"},
	{VIEW("CLUSTERDOWN"), VIEW(""), "the Redis Cluster is down"},
	{VIEW("LOADING"), VIEW(""), "it is loading its data"},
	{VIEW("BUSY"), VIEW(""), "a script keeps it busy"},
	{VIEW("OOM"), VIEW(""), "it is out of memory (maxmemory)"},
	{VIEW("MISCONF"), VIEW(""), "it cannot write to its disk"},
	{VIEW("NOREPLICAS"), VIEW(""), "it has too few replicas (min-replicas-to-write)"},
	{VIEW("WRONGTYPE"), VIEW(""), "something else uses Isobar's keys"},
	{VIEW("ERR syntax error"), VIEW(""), "it is older than 7.0"},
	{VIEW("ERR unknown"), VIEW(""), "it is older than 7.0, or lacks a command"},
	{VIEW("ERR Unknown"), VIEW(""), "it is older than 7.0, or lacks a command"},
	{VIEW(""), VIEW(""), "it refuses a command"},
};

static bool holds(struct view text, struct view words)
{
	return words.n == 0 || (text.n && memmem(text.p, text.n, words.p, words.n));
}

const char *fault_text(struct view error)
{
	unsigned i = 0;

	while (!view_starts_with(error, faults[i].begins) || !holds(error, faults[i].holds))
		i++; /* the last takes all */
	return faults[i].text;
}
