#include "commit/metadata.h"

#include "wis2/json.h"
#include "wis2/record.h"

/* The bytes that metadata_id stands for; room for NOTIFICATION_LARGEST. */
static struct view decoded(struct view raw, char *room)
{
	if (raw.n == 0 || memchr(raw.p, '\\', raw.n) == NULL)
		return raw;
	return (struct view){room, json_decode(raw, room)};
}

/* A record deleted by another centre's word stays. */
static void notice(struct shelf *shelf, const struct gate_verdict *v, struct view metadata_id)
{
	bool is_its_own = view_equal(metadata_id_centre(metadata_id), v->parts.centre);

	shelf_notice(
		shelf, v->note.is_deletion && is_its_own ? metadata_id : (struct view){NULL, 0});
}

static struct finding finding_of(
	enum catalogue_answer answer, const struct gate_verdict *v, struct view payload)
{
	struct finding f = {.rule = RULE_MD_01};

	if (answer == CATALOGUE_FOREIGN) {
		f.offset = (uint32_t)(v->note.metadata_id.p - 1 - payload.p);
		f.reason = "metadata_id belongs to another centre";
		memcpy(f.path, "/properties/metadata_id", sizeof("/properties/metadata_id"));
	} else {
		f.offset = (uint32_t)(v->parts.tail.p - v->parts.channel.p);
		f.level = 5;
		f.reason = "no discovery metadata record names this topic";
	}
	return f;
}

/* What was let through before under a rule of a lower number keeps it (GB-64). */
static void break_rule(struct gate_verdict *v, enum gate_mode mode, struct finding finding)
{
	v->pass = mode != GATE_DISCARD;
	v->claim = v->pass;
	if (v->pass && v->rule != RULE_NONE)
		return;
	v->finding = finding;
	v->rule = RULE_MD_01;
	v->check = rule_check(RULE_MD_01);
}

void metadata_judge(struct shelf *shelf, const struct gate_policy *p, struct view payload,
	struct gate_verdict *v)
{
	enum gate_mode mode = gate_rule_mode(p, RULE_MD_01);
	char room[NOTIFICATION_LARGEST];
	struct catalogue_question question;
	enum catalogue_answer answer;

	if (shelf == NULL || !v->pass)
		return;
	question = (struct catalogue_question){
		.metadata_id = decoded(v->note.metadata_id, room),
		.centre = v->parts.centre,
		.tail = v->parts.tail,
		.any_owner = p->settings.metadata_any_owner,
		.fallback = p->settings.metadata_fallback,
	};
	if (v->parts.kind == TOPIC_METADATA) /* MD-04 */
		notice(shelf, v, question.metadata_id);
	if (v->parts.kind != TOPIC_DATA || mode == GATE_OFF) /* MD-04 */
		return;
	answer = shelf_ask(shelf, &question); /* MD-01 */
	v->by_centre = answer == CATALOGUE_BY_CENTRE;
	if (answer == CATALOGUE_NO || answer == CATALOGUE_FOREIGN)
		break_rule(v, mode, finding_of(answer, v, payload));
}
