#!/bin/sh
# Static analysis: cppcheck over everything, clang-tidy's analyzer over the sources (minutes).
set -eu
cd "$(dirname "$0")/.."
make --no-print-directory build/gen/wis2/hierarchy_data.h build/gen/admin/overview.h
cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem --suppress=readdirCalled --suppress=uninitvar:src/broker/account_test.c \
	-j "$(nproc)" -Isrc -Ibuild/gen -D_GNU_SOURCE -DISOBAR_VERSION='"lint"' src
# Left out: checks of taste, and those of the analyzer that do not see through intrusive lists.
export LINT_CHECKS='-*,clang-analyzer-deadcode.*,clang-analyzer-security.*,bugprone-*,'\
'-clang-analyzer-security.insecureAPI.*,-bugprone-easily-swappable-parameters,'\
'-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition,'\
'-bugprone-narrowing-conversions,-bugprone-branch-clone,-bugprone-macro-parentheses,'\
'-bugprone-sizeof-expression,-bugprone-implicit-widening-of-multiplication-result'
# shellcheck disable=SC2016
find src -name '*.c' ! -name '*_test.c' -print0 | xargs -0 -P "$(nproc)" -n 8 sh -c '
	clang-tidy --quiet --warnings-as-errors="*" --checks="$LINT_CHECKS" "$@" -- \
		-std=c11 -D_GNU_SOURCE -Isrc -Ibuild/gen -DISOBAR_VERSION=\"lint\"' sh
find src tests/fuzz -name "*.[ch]" -print0 | xargs -0 clang-format --dry-run --Werror
echo "lint: nothing found"
