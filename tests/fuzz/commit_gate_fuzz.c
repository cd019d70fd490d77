/* The gate with any topic and any payload, under policies that mix discard, verify and off.
 *
 * Input: one byte that picks the policy, the topic up to a newline, the payload. Held to: a message
 * that passes has no discarded rule among those that the judges report when asked for all.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "commit/gate.h"

/* Bits of the first byte: 0-1 message, 2-3 topic, 4 centre off, 5 single rules, 6 any centre, 7 strict. */
static void policy_from(struct gate_policy *p, uint8_t pick)
{
	*p = (struct gate_policy){.channels = GATE_ORIGIN | GATE_CACHE | GATE_MONITOR};
	gate_settings_default(&p->settings);
	p->settings.checks[CHECK_MESSAGE] = (enum gate_mode)((pick & 3) % 3);
	p->settings.checks[CHECK_TOPIC] = (enum gate_mode)((pick >> 2 & 3) % 3);
	p->settings.checks[CHECK_CENTRE] = pick & 16 ? GATE_OFF : GATE_DISCARD;
	p->any_centre = pick & 64;
	p->settings.message_mode = pick & 128 ? MODE_STRICT : MODE_STANDARD;
	if (pick & 32) {
		p->settings.rules[RULE_WNM_10] = GATE_VERIFY;
		p->settings.rules[RULE_WNM_35] = GATE_DISCARD;
		p->settings.rules[RULE_WTH_13] = GATE_VERIFY;
		p->settings.rules[RULE_WTH_12] = GATE_OFF;
	}
	gate_policy_compile(p);
}

static void check_none_discarded(const struct gate_policy *p, const struct findings *found)
{
	for (uint32_t i = 0; i < found->count; i++)
		check(gate_rule_mode(p, found->at[i].rule) != GATE_DISCARD);
}

/* The judges asked directly, for everything. */
static void check_rules_hold(const struct hierarchy *h, const struct gate_policy *p,
	struct view topic, struct view payload, const struct gate_verdict *v)
{
	struct topic_options topic_options = {
		.test_centres = true, .all = true, .rule_modes = p->rule_modes};
	struct notification_options options = {
		.mode = p->settings.message_mode,
		.metadata_topic = v->parts.kind == TOPIC_METADATA,
		.cache_topic = v->parts.is_cache,
		.all = true,
		.rule_modes = p->rule_modes,
	};
	struct topic_parts parts;
	struct notification note;
	struct findings found;

	topic_judge(h, topic, &topic_options, &parts, &found);
	check_none_discarded(p, &found);
	if (view_starts_with(topic, VIEW("monitor/")))
		return;
	notification_judge(payload, &options, &note, &found);
	check_none_discarded(p, &found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hierarchy *h;
	struct gate_policy p;
	struct gate_verdict v, again;
	struct view rest, topic;

	if (size == 0)
		return 0;
	policy_from(&p, data[0]);
	rest = (struct view){(const char *)data + 1, size - 1};
	topic = view_cut(&rest, '\n');
	h = hierarchy_built_in();
	gate_judge(h, &p, topic, rest, &v);
	gate_judge(h, &p, topic, rest, &again);
	check(v.pass == again.pass && v.rule == again.rule);
	check(memcmp(&v.identity, &again.identity, sizeof(v.identity)) == 0);
	check(v.pass || v.rule != RULE_NONE);
	check(v.rule == RULE_NONE ||
		gate_rule_mode(&p, v.rule) == (v.pass ? GATE_VERIFY : GATE_DISCARD));
	check(!v.pass || v.claim);
	if (v.pass)
		check_rules_hold(h, &p, topic, rest, &v);
	hierarchy_unref(h);
	gate_policy_fini(&p);
	return 0;
}
