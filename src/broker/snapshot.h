/* broker/snapshot.h - sessions and retained messages of a running broker, copied to be carried elsewhere
 *
 * A copy is what a start after a kill at that moment would find: every session and subscription that
 * was acknowledged, positions as of the last checkpoints (broker/persist.h). All of them lie at or below
 * the journal's tail at the end of the call, so a journal copied afterwards has what they point to.
 *
 * Threads: any that may wait for the disk; no worker.
 */
#ifndef BROKER_SNAPSHOT_H
#define BROKER_SNAPSHOT_H

#include <stdint.h>

struct broker;

/* Writes `dir`/sessions and `dir`/retained, folders as a start finds them; dir is made when absent.
 * alive(context) is called about once a second meanwhile. 0 or ERR_SYSTEM (errno). */
int broker_snapshot(struct broker *b, const char *dir, void (*alive)(void *context), void *context);

struct snapshot_figures {
	uint64_t sessions;
	uint64_t retained;
};

/* Reads both folders below `dir` as a start would, those that are there: each row is checked. 0, or
 * negative with *why, a text to free(). */
int snapshot_check(const char *dir, struct snapshot_figures *out, char **why);

#endif
