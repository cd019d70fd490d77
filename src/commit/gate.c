/* commit/gate.c - the verdict, from the cheapest question to the dearest
 *
 *     centre  level 1 and level 4 against the policy: no table is asked       WTH-22, WTH-23
 *     topic   topic_judge()                                                   WTH-
 *     message notification_judge(), or under monitor/ event_judge()           WNM-, MON-
 *
 * Each stage first looks for the lowest-numbered broken rule only. What counts at all is known to
 * the judges through the policy's compiled modes, so that one is either discarded or verified. Only
 * when it is verified and single rules have modes of their own can a higher-numbered one still
 * discard: then the stage runs again and lists everything.
 */
#include "commit/gate.h"

#include <stdlib.h>
#include <xxhash.h>

#include "wis2/event.h"

struct judging {
	const struct hierarchy *hierarchy;
	const struct gate_policy *policy;
	struct view topic;
	struct view payload;
	unsigned channel; /* enum gate_channel, 0: none of them */
	bool is_metadata; /* level 5 is "metadata" */
	struct gate_verdict *out;
};

static const struct {
	struct view name;
	enum gate_channel channel;
} channels[] = {
	{VIEW("origin"), GATE_ORIGIN},
	{VIEW("cache"), GATE_CACHE},
	{VIEW("monitor"), GATE_MONITOR},
};

/* --- policies --------------------------------------------------------- */

void gate_settings_default(struct gate_settings *s)
{
	*s = (struct gate_settings){
		.message_mode = MODE_STANDARD, .test_centres = true, .metadata_fallback = true};
	for (unsigned r = 0; r < RULE_COUNT; r++)
		s->rules[r] = -1;
}

enum gate_mode gate_rule_mode(const struct gate_policy *p, enum rule r)
{
	int8_t own = p->settings.rules[r];

	return own >= 0 ? (enum gate_mode)own : p->settings.checks[rule_check(r)];
}

/* An operator who names a rule wants it whatever the message mode says. */
static uint8_t compiled_mode(const struct gate_policy *p, enum rule r)
{
	if (gate_rule_mode(p, r) == GATE_OFF)
		return MODE_OFF;
	return (uint8_t)(p->settings.rules[r] >= 0 ? MODE_LENIENT : rule_mode(r));
}

void gate_policy_compile(struct gate_policy *p)
{
	p->has_rule_overrides = false;
	for (unsigned r = 0; r < RULE_COUNT; r++) {
		p->rule_modes[r] = compiled_mode(p, (enum rule)r);
		if (p->settings.rules[r] >= 0)
			p->has_rule_overrides = true;
	}
}

void gate_policy_fini(struct gate_policy *p)
{
	for (uint32_t i = 0; i < p->centre_count; i++)
		free(p->centres[i]);
	free(p->centres);
	p->centres = NULL;
	p->centre_count = 0;
}

/* --- weighing what a stage found -------------------------------------- */

/* Keeps the finding that decides: the first to be discarded, else the first to be verified. True:
 * discarded. */
static bool weigh(struct judging *j, const struct findings *found)
{
	const struct finding *decides = NULL;
	bool discarded = false;

	for (uint32_t i = 0; i < found->count && !discarded; i++) {
		enum gate_mode mode = gate_rule_mode(j->policy, found->at[i].rule);

		discarded = mode == GATE_DISCARD;
		if (discarded || (decides == NULL && mode == GATE_VERIFY))
			decides = &found->at[i];
	}
	if (decides && (discarded || j->out->rule == RULE_NONE)) {
		j->out->finding = *decides;
		j->out->rule = decides->rule;
		j->out->check = rule_check(decides->rule);
	}
	return discarded;
}

static bool needs_all(const struct judging *j, enum rule lowest)
{
	return lowest != RULE_NONE && j->policy->has_rule_overrides &&
	       gate_rule_mode(j->policy, lowest) == GATE_VERIFY;
}

/* --- stage: channel and centre ---------------------------------------- */

static bool speaks_for(const struct gate_policy *p, struct view centre)
{
	for (uint32_t i = 0; i < p->centre_count; i++) {
		if (view_equal(view_of(p->centres[i]), centre))
			return true;
	}
	return false;
}

/* A centre nobody knows is named with the one that was meant, perhaps. */
static struct view nearest_centre(const struct judging *j, struct view name)
{
	return hierarchy_knows_centre(j->hierarchy, name)
		       ? (struct view){0}
		       : hierarchy_nearest_centre(j->hierarchy, name);
}

static void add_foreign(struct judging *j, struct findings *found, enum rule rule, struct view at,
	uint8_t level, const char *reason)
{
	if (j->policy->rule_modes[rule] == MODE_OFF)
		return;
	found->at[found->count++] = (struct finding){
		.rule = rule,
		.offset = (uint32_t)(at.p - j->topic.p),
		.level = level,
		.reason = reason,
		.nearest = level == 4 ? nearest_centre(j, at) : (struct view){0},
	};
}

/* Cuts the levels that this stage asks for: 1, 4 and 5. */
static void read_levels(
	struct judging *j, struct view *channel, struct view *centre, struct view *type)
{
	struct view rest = j->topic;

	*channel = view_cut(&rest, '/');
	view_cut(&rest, '/');
	view_cut(&rest, '/');
	*centre = view_cut(&rest, '/');
	*type = view_cut(&rest, '/');
	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++) {
		if (view_equal(*channel, channels[i].name))
			j->channel = channels[i].channel;
	}
	j->is_metadata = view_equal(*type, VIEW("metadata"));
}

/* A Global Cache that describes itself does so as a node would (topics.md, section 4). */
static bool is_own_metadata(const struct judging *j, struct view centre)
{
	return j->policy->own_metadata && j->channel == GATE_ORIGIN && j->is_metadata &&
	       speaks_for(j->policy, centre);
}

/* A topic with no level 4, or an unknown level 1, is left to the hierarchy. */
static bool judge_centre(struct judging *j)
{
	const struct gate_policy *p = j->policy;
	struct findings found;
	struct view channel, centre, type;

	found.count = 0;
	read_levels(j, &channel, &centre, &type);
	if (centre.n && !p->any_centre && !speaks_for(p, centre)) /* WTH-22 */
		add_foreign(j, &found, RULE_WTH_22, centre, 4,
			"the source may not speak for this centre");
	if ((j->channel & ~p->channels) && !is_own_metadata(j, centre)) /* WTH-23 */
		add_foreign(
			j, &found, RULE_WTH_23, channel, 1, "the source may not use this channel");
	else if (p->metadata_only && type.n && !j->is_metadata)
		add_foreign(j, &found, RULE_WTH_23, type, 5,
			"a catalogue publishes on its metadata topic only");
	return weigh(j, &found);
}

/* --- stage: topic ----------------------------------------------------- */

static bool judge_topic(struct judging *j)
{
	const struct gate_settings *s = &j->policy->settings;
	struct topic_options options = {
		.leaf_only = s->leaf_only || s->rules[RULE_WTH_15] >= 0,
		.metadata_subtopics = s->metadata_subtopics,
		.test_centres = s->test_centres,
		.rule_modes = j->policy->rule_modes,
	};
	struct findings found;
	enum rule lowest;

	lowest = topic_judge(j->hierarchy, j->topic, &options, &j->out->parts, &found);
	if (needs_all(j, lowest)) {
		options.all = true;
		topic_judge(j->hierarchy, j->topic, &options, &j->out->parts, &found);
	}
	return weigh(j, &found);
}

/* --- stage: message --------------------------------------------------- */

static enum rule judge_event(struct judging *j, bool all, struct findings *found)
{
	struct event_options options = {
		.subject = j->out->parts.centre,
		.all = all,
		.rule_modes = j->policy->rule_modes,
	};

	return event_judge(j->payload, &options, &j->out->note, found);
}

static enum rule judge_notification(struct judging *j, bool all, struct findings *found)
{
	struct notification_options options = {
		.mode = j->policy->settings.message_mode,
		.metadata_topic = j->is_metadata,
		.cache_topic = j->channel == GATE_CACHE,
		.all = all,
		.rule_modes = j->policy->rule_modes,
	};

	return notification_judge(j->payload, &options, &j->out->note, found);
}

static bool judge_message(struct judging *j)
{
	bool is_event = j->channel == GATE_MONITOR;
	enum rule (*judge)(struct judging *, bool, struct findings *) =
		is_event ? judge_event : judge_notification;
	struct findings found;

	if (needs_all(j, judge(j, false, &found)))
		judge(j, true, &found);
	return weigh(j, &found);
}

/* --- the whole -------------------------------------------------------- */

bool gate_is_wis2(struct view topic)
{
	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++) {
		struct view name = channels[i].name;

		if (view_starts_with(topic, name) && topic.n > name.n && topic.p[name.n] == '/')
			return true;
	}
	return false;
}

/* A message let through without a valid id would go round between brokers for ever otherwise. */
struct uuid gate_identity_of_bytes(struct view topic, struct view payload)
{
	XXH128_canonical_t canonical;
	struct uuid id;

	XXH128_canonicalFromHash(&canonical,
		XXH3_128bits_withSeed(payload.p, payload.n, XXH3_64bits(topic.p, topic.n)));
	memcpy(id.b, canonical.digest, sizeof(id.b));
	return id;
}

void gate_judge(const struct hierarchy *h, const struct gate_policy *p, struct view topic,
	struct view payload, struct gate_verdict *out)
{
	struct judging j = {
		.hierarchy = h, .policy = p, .topic = topic, .payload = payload, .out = out};

	memset(out, 0, sizeof(*out));
	if (p->outside_passes && !gate_is_wis2(topic)) {
		out->pass = true;
		uuid_random(&out->identity);
		return;
	}
	if (judge_centre(&j) || judge_topic(&j) || judge_message(&j))
		return;
	out->pass = true;
	out->claim = true;
	out->identity = out->note.has_id ? out->note.id : gate_identity_of_bytes(topic, payload);
}
