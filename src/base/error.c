#include "base/error.h"

#include <stddef.h>

struct err_info {
	const char *text;
	uint8_t reason;
};

static const struct err_info infos[ERR_COUNT] = {
#define X(name, text, reason) [name##_ROW] = {text, reason},
#include "base/err.def"
#undef X
};

static const struct err_info *info_of(int err)
{
	return err < 0 && err >= -ERR_COUNT ? &infos[-err - 1] : NULL;
}

const char *err_text(int err)
{
	const struct err_info *info = info_of(err);

	return info ? info->text : err < 0 ? "unknown error" : "done";
}

uint8_t err_reason_code(int err)
{
	const struct err_info *info = info_of(err);

	if (info)
		return info->reason;
	return (uint8_t)(err < 0 ? 0x80 : 0x00);
}
